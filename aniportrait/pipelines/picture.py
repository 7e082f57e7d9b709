"""A portrait from a file: upright RGB, cropped around the face, measured."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from aniportrait.face.crop import SquareCrop, face_crop
from aniportrait.face.landmarks import FaceLandmarker, NoFaceError
from aniportrait.face.track import FaceTrack

MEASURE_SIZE = 512
"""Side of the square that the landmarker sees, pixels."""


@dataclass(frozen=True)
class Picture:
    """A face, ready to be animated.

    Args:
        image: (n, n, 3) uint8 RGB square around the face.
        track: the face in it, one frame.
        crop: the square in the original picture.
    """

    image: np.ndarray
    track: FaceTrack
    crop: SquareCrop


def read_image(path: str | Path) -> np.ndarray:
    """(h, w, 3) uint8 RGB of any picture file: rotation tag honoured, transparency over grey, 16 bit scaled."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"portrait {path} does not exist")
    try:
        with Image.open(path) as opened:
            opened.load()
            upright = ImageOps.exif_transpose(opened)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise ValueError(f"portrait {path} cannot be read as a picture") from error
    if upright.mode.startswith(("I", "F")):
        values = np.asarray(upright, dtype=np.float64)
        grey = np.clip(values / (257.0 if values.max() > 255 else 1.0), 0, 255).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if "A" in upright.getbands() or "transparency" in upright.info:
        layered = upright.convert("RGBA")
        return np.asarray(
            Image.alpha_composite(Image.new("RGBA", layered.size, (127, 127, 127, 255)), layered).convert(
                "RGB"
            )
        )
    return np.asarray(upright.convert("RGB"))


def prepare_picture(image: np.ndarray, landmarker: FaceLandmarker, what: str) -> Picture:
    """Find the face in (h, w, 3) RGB, crop the square around it as preparation does, measure it there.

    `what` names the picture in messages; NoFaceError when there is none.
    """
    found = landmarker.detect(image)
    if not found.valid[0]:
        raise NoFaceError(
            f"{what} shows no face that can be found: give a picture of one face, turned to the camera"
        )
    crop = face_crop(found.landmarks, image.shape[1], image.shape[0])
    square = crop.cut(image, MEASURE_SIZE)
    track = landmarker.detect(square)
    if not track.valid[0]:
        raise NoFaceError(f"{what}: the face is too small or turned too far to be measured")
    return Picture(square, track, crop)
