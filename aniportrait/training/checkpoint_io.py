"""Checkpoints appear whole or not at all."""

import os
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

from aniportrait.checkpoints.tensor_files import read_pickle


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the checkpoint's place, then puts it there: a kill or a full disk costs the new one only.

    Lightning's own way builds the file in memory first, and on some systems in another file system. It also reads all
    of it at once: here the ranks of a machine share the pages of one file.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike, storage_options: Any = None
    ) -> None:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + ".part")
        try:
            with open(part, "wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, path)
        except (OSError, RuntimeError) as error:  # torch's writer says RuntimeError when the disk is full
            part.unlink(missing_ok=True)
            raise OSError(
                f"{path} could not be written, what was there before still is: {str(error).splitlines()[0]}"
            ) from error

    def load_checkpoint(
        self, path: str | os.PathLike, map_location: Any = None, weights_only: bool | None = True
    ) -> dict[str, Any]:
        return read_pickle(Path(path))
