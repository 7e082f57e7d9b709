"""Sound -> features of a speech recogniser that a pip package carries: nothing is downloaded from a hub."""

import hashlib
import importlib.metadata
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aniportrait.models.audio_encoder import sampled
from aniportrait.models.log_mel import SAMPLE_RATE
from aniportrait.models.pretrained import MissingWeightsError
from aniportrait.models.sound_windows import encoded_in_windows
from aniportrait.models.sounding import sounding

PACKAGE = "moonshine-voice"
VERSION = "0.0.73"
"""Later versions of the package carry no weights."""
FILE = "tiny-en/encoder_model.ort"
SHA256 = "94e90a4654fc45cdfedb77c4c08e1739f48862998e58fada384b25118134f221"
ADVICE = f"run `make moonshine`, which installs {PACKAGE}=={VERSION} and onnxruntime"

HOP = 384
FIRST_CENTRE = 447
"""Samples: the front-end's three convolutions (kernels 127, 7, 3; strides 64, 3, 2) centre feature k on 447 + 384 k."""
SHORTEST = 1600
"""Samples; shorter sounds are continued with silence."""
LEVEL = 0.05
QUIETEST = 1e-3
"""Root mean square: sounds below are not made as loud as speech."""


class MoonshineEncoder(nn.Module):
    """The encoder of Moonshine tiny (arXiv 2410.15608), int8 in onnxruntime, at the video's frame rate; frozen.

    It has heard 200,000 hours of speech, so that a head on top of it needs minutes of film where one on log-mels
    needs hours. Each clip is encoded by itself: int8 activations share one scale, and silence added to a short clip
    would change it.

    Args:
        path: an encoder_model.ort to use instead of the package's.
        window_seconds: longest sound encoded at once; longer ones go in overlapping windows. Features change with
            what is heard around them, so keep it near the length of a training window.
        overlap_seconds: what neighbouring windows share at least.
        cache_mib: how much of what was encoded is kept: trainings meet the same windows again.
    """

    width = 288

    def __init__(
        self,
        path: str | None = None,
        window_seconds: float = 4.0,
        overlap_seconds: float = 1.3,
        cache_mib: int = 256,
    ):
        super().__init__()
        self.file = _packaged() if path is None else Path(path).expanduser()
        if not self.file.is_file():
            raise MissingWeightsError(f"audio_encoder.path={path} is no file: leave it null and {ADVICE}")
        self.window, self.overlap = (round(s * SAMPLE_RATE) for s in (window_seconds, overlap_seconds))
        self._opened: Any = None
        self._kept: dict[bytes, np.ndarray] = {}
        self._held, self._cache_bytes = 0, cache_mib * 2**20

    def forward(self, audio: Tensor, frames: int) -> Tensor:
        """Args: audio (b, n) at 16 kHz; frames: video frames it spans. Returns (b, frames, 288), no gradient."""
        return self.encode(self.normalised(audio), frames)

    def normalised(self, audio: Tensor) -> Tensor:
        """Every clip (b, n) as loud as the others."""
        return audio * (LEVEL / audio.square().mean(dim=-1, keepdim=True).sqrt().clamp_min(QUIETEST))

    def encode(self, audio: Tensor, frames: int) -> Tensor:
        """As forward, for `normalised` audio (b, n) or a part of it."""
        steps = -(-audio.shape[-1] // HOP)
        signal = F.pad(audio, (0, steps * HOP - audio.shape[-1]))
        features = encoded_in_windows(self._steps, signal, steps, self.window, self.overlap)
        features = F.layer_norm(features, (self.width,))  # a few channels are ten times as large as the rest
        heard = sounding(signal, steps)[..., None] + 1e-6  # a pause tells nothing of
        average = (features * heard).sum(dim=1, keepdim=True) / heard.sum(dim=1, keepdim=True)
        features = features - average  # who speaks, into which microphone
        times = (torch.arange(frames, device=audio.device) + 0.5) * (audio.shape[-1] / frames)
        return sampled(features, (times - FIRST_CENTRE) / HOP)

    def _steps(self, audio: Tensor, steps: int) -> Tensor:
        """Audio (b, steps * HOP) -> features (b, steps, 288): windows of long sounds lie on one grid."""
        clips = audio.detach().float().cpu().numpy()
        keys = [hashlib.blake2b(clip.tobytes(), digest_size=16).digest() for clip in clips]
        known = self._kept | self._encoded(
            {key: clip for key, clip in zip(keys, clips, strict=True) if key not in self._kept}
        )
        features = np.stack([known[key] for key in keys])
        lacking = max(0, steps - features.shape[1])  # the convolutions need a little more than a step
        features = np.pad(features, ((0, 0), (0, lacking), (0, 0)), mode="edge")[:, :steps]
        return torch.from_numpy(features).to(audio)

    def _encoded(self, clips: dict[bytes, np.ndarray]) -> dict[bytes, np.ndarray]:
        """Features of clips, beside each other; what there is room for is kept."""
        if not clips:
            return {}
        encode = partial(_encoded, self._session)  # opened here: threads would each open one
        with ThreadPoolExecutor(min(len(clips), torch.get_num_threads())) as pool:
            features = dict(zip(clips, pool.map(encode, clips.values()), strict=True))
        for key, array in features.items():
            if self._held + array.nbytes <= self._cache_bytes:
                self._held += array.nbytes
                self._kept[key] = array
        return features

    @property
    def _session(self) -> Any:
        if self._opened is None:
            self._opened = _session(self.file)
        return self._opened

    def __getstate__(self) -> dict[str, Any]:
        # A session cannot be copied: a copy opens its own.
        return self.__dict__ | {"_opened": None, "_kept": {}, "_held": 0}


def _encoded(session: Any, audio: np.ndarray) -> np.ndarray:
    audio = np.pad(audio, (0, max(0, SHORTEST - len(audio))))[None]
    return session.run(None, {"input_values": audio, "attention_mask": np.ones(audio.shape, np.int64)})[0][0]


def _session(file: Path) -> Any:
    try:
        import onnxruntime  # pyright: ignore[reportMissingImports] - optional: only this encoder needs it
    except ImportError as error:
        raise MissingWeightsError(f"audio_encoder=moonshine needs onnxruntime: {ADVICE}") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # clips of a batch run beside each other
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


def _packaged() -> Path:
    """The package's encoder, found without importing the package."""
    try:
        files = importlib.metadata.files(PACKAGE) or []
    except importlib.metadata.PackageNotFoundError as error:
        raise MissingWeightsError(
            f"audio_encoder=moonshine needs the pip package {PACKAGE}: {ADVICE}"
        ) from error
    for file in files:
        if str(file).endswith(FILE):
            found = Path(str(file.locate()))
            if hashlib.sha256(found.read_bytes()).hexdigest() == SHA256:
                return found
    raise MissingWeightsError(
        f"the installed {PACKAGE} carries no {FILE} with the sha256 {SHA256[:8]}...: {ADVICE}"
    )
