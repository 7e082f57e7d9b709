"""MediaPipe's face landmarker task: pictures -> faces, quietly."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

SYSTEM_LIBRARIES = "libegl1 libgles2 libgl1 libglib2.0-0"

MOST_FACES = 16
"""As many faces are told apart in one picture; of more, the largest can be missing."""


class MissingLibraryError(OSError):
    """MediaPipe needs system libraries that are not installed."""


@dataclass(frozen=True, eq=False)
class DetectedFace:
    """One detection: landmarks (478, 3) normalised, blendshapes (52,), box x0, y0, x1, y1 in pixels."""

    landmarks: np.ndarray
    blendshapes: np.ndarray
    box: tuple[float, float, float, float]

    @staticmethod
    def at(box: tuple[float, float, float, float]) -> "DetectedFace":
        """A face of which nothing is known but where it is."""
        return DetectedFace(np.empty((0, 3), np.float32), np.empty(0, np.float32), box)

    @property
    def area(self) -> float:
        return (self.box[2] - self.box[0]) * (self.box[3] - self.box[1])

    @property
    def centre(self) -> np.ndarray:
        return np.array(((self.box[0] + self.box[2]) / 2, (self.box[1] + self.box[3]) / 2))


class FaceDetector:
    """One MediaPipe task: `video` ones filter over time and see one face, others see up to MOST_FACES."""

    def __init__(self, task_file: Path, *, video: bool) -> None:
        _ignore_profiling_timer()
        with _silent_stderr():
            mediapipe, tasks = _import_mediapipe()
            options = tasks.vision.FaceLandmarkerOptions(
                base_options=tasks.BaseOptions(model_asset_path=str(task_file)),
                running_mode=tasks.vision.RunningMode.VIDEO if video else tasks.vision.RunningMode.IMAGE,
                num_faces=1 if video else MOST_FACES,
                output_face_blendshapes=True,
            )
            try:
                self._task = tasks.vision.FaceLandmarker.create_from_options(options)
            except OSError as error:
                raise _explained(error) from error
        self._image = lambda pixels: mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=pixels)
        self._video = video
        self._quiet: contextlib.AbstractContextManager[None] = _silent_stderr()

    def __enter__(self) -> "FaceDetector":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._task.close()

    def faces(self, image: np.ndarray, milliseconds: int = 0) -> list[DetectedFace]:
        """Faces of an RGB picture, largest first; times of a video must rise."""
        width, height = image_size(image)
        with self._quiet:  # the first detection talks, too
            # MediaPipe ignores strides and would read a padded frame askew.
            picture = self._image(np.ascontiguousarray(image))
            if self._video:
                result = self._task.detect_for_video(picture, milliseconds)
            else:
                result = self._task.detect(picture)
        self._quiet = contextlib.nullcontext()
        faces = []
        for points, scores in zip(result.face_landmarks, result.face_blendshapes, strict=True):
            landmarks = np.array([(point.x, point.y, point.z) for point in points], dtype=np.float32)
            x, y = landmarks[:, 0] * width, landmarks[:, 1] * height
            box = (float(x.min()), float(y.min()), float(x.max()), float(y.max()))
            blendshapes = np.array([score.score for score in scores], dtype=np.float32)
            faces.append(DetectedFace(landmarks, blendshapes, box))
        return sorted(faces, key=lambda face: (-face.area, face.box))


def image_size(image: np.ndarray) -> tuple[int, int]:
    """Width and height of an RGB picture."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise ValueError(f"image {image.shape} {image.dtype} must be RGB pixels (h, w, 3) uint8")
    return image.shape[1], image.shape[0]


def _ignore_profiling_timer() -> None:
    """MediaPipe 1.2.2 sets profiling timers and leaves their signal ignored: too late for one that fires before.

    Unheard, SIGPROF ends the process. Whoever listens to it already goes on to, and only a main thread can change that.
    """
    unheard = signal.getsignal(signal.SIGPROF) == signal.SIG_DFL
    if unheard and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGPROF, signal.SIG_IGN)


def _import_mediapipe() -> tuple[Any, Any]:
    """MediaPipe takes a second or two to import: only when a face is to be found."""
    try:
        import mediapipe
        from mediapipe.tasks import python as tasks
    except ModuleNotFoundError:
        raise
    except (ImportError, OSError) as error:
        raise _explained(error) from error
    return mediapipe, tasks


def _explained(error: Exception) -> Exception:
    if ".so" not in str(error):
        return error
    return MissingLibraryError(
        f"MediaPipe cannot load a system library ({error}); install them with: "
        f"sudo apt-get install -y {SYSTEM_LIBRARIES}"
    )


_STDERR = threading.Lock()


@contextlib.contextmanager
def _silent_stderr() -> Iterator[None]:
    """Send the process's file descriptor 2 nowhere, and restore it whatever happens.

    MediaPipe's C++ log obeys no setting. The descriptor belongs to the whole process: what other threads
    write is lost, so this lasts only for a creation or a first detection, and holds one thread at a time.
    """
    with _STDERR:
        sys.stderr.flush()
        try:
            saved = os.dup(2)
        except OSError:  # there is no stderr to silence
            yield
            return
        try:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 2)
            os.close(nowhere)
            yield
        finally:
            sys.stderr.flush()
            os.dup2(saved, 2)
            os.close(saved)
