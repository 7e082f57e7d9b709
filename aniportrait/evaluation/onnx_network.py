"""A network of one input and one output that comes as an ONNX file."""

from pathlib import Path

import numpy as np

from aniportrait.evaluation.video_metric import MissingBackendError


class OnnxNetwork:
    """Runs in onnxruntime on the CPU, so that figures do not depend on the machine; a copy opens the file again."""

    def __init__(self, file: Path):
        try:
            import onnxruntime  # pyright: ignore[reportMissingImports] - optional: few metrics need it
        except ImportError as error:
            raise MissingBackendError(f"{file.name} needs onnxruntime: pip install onnxruntime") from error
        self.file = file
        self._session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        return np.asarray(self._session.run(None, {self._input: batch})[0])

    def __reduce__(self):
        return OnnxNetwork, (self.file,)
