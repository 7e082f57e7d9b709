"""Any picture file -> upright RGB in the colours of a screen."""

import io
import logging
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError

from aniportrait.data.sound import MediaError, opened

log = logging.getLogger(__name__)

FORMATS = ("AVIF", "BMP", "GIF", "ICO", "JPEG", "JPEG2000", "PNG", "PPM", "PSD", "QOI", "TIFF", "WEBP")
"""What Pillow is let loose on: others run a PostScript interpreter, or take any file for theirs."""
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
BACKGROUND = 127
"""Grey that shows through where a picture is transparent."""

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_DAMAGE = (
    *(OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, RuntimeError),
    *(struct.error, zlib.error),
)
"""What Pillow raises over damaged files, format by format."""


def read_image(path: str | Path) -> np.ndarray:
    """(h, w, 3) uint8 sRGB of any picture file, upright as its rotation tag says.

    Grey shows where it is transparent, 16 bit and float are scaled, of an animation the first frame is taken.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds no picture that can be read, in one sentence.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"portrait {path} does not exist")
    if not path.is_file():
        raise ValueError(f"portrait {path} is a folder or a device: give one picture file")
    formats = _formats(path)
    try:
        return _rgb(_loaded(path, formats), path)
    except Image.DecompressionBombError as error:
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0) / 1e6
        raise ValueError(
            f"portrait {path} has more than {most:.0f} million pixels: shrink it first"
        ) from error
    except UnidentifiedImageError as error:
        raise ValueError(f"portrait {path} {_other_kind(path)}") from error
    except _DAMAGE as error:
        reason = str(error).rstrip(".") or type(error).__name__
        raise ValueError(
            f"portrait {path} cannot be read as a picture ({reason}): it may be damaged or cut short, "
            "save it again as PNG or JPEG"
        ) from error


def _formats(path: Path) -> tuple[str, ...]:
    """Those to try: FORMATS, and for a phone's picture that of the plugin."""
    try:
        with path.open("rb") as file:
            head = file.read(12)
    except OSError as error:
        raise ValueError(f"portrait {path} cannot be opened ({error.strerror})") from error
    if not head:
        raise ValueError(f"portrait {path} is empty (0 bytes)")
    if head[4:8] != b"ftyp" or head[8:] not in HEIF_BRANDS:
        return FORMATS
    try:
        import pillow_heif  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ValueError(
            f"portrait {path} is a HEIC picture, which needs a plugin: pip install pillow-heif, or save it as JPEG"
        ) from error
    pillow_heif.register_heif_opener()
    return (*FORMATS, "HEIF")


def _loaded(path: Path, formats: tuple[str, ...]) -> Image.Image:
    """The first frame with all its pixels, upright."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of many pixels, of damaged tags: what is fatal is raised
        with Image.open(path, formats=formats) as picture:
            picture.load()
            turn = _UPRIGHT.get(_orientation(picture, path))
            return picture if turn is None else picture.transpose(turn)


def _orientation(picture: Image.Image, path: Path) -> int:
    """Pillow's own way to transpose also writes all tags anew, and fails where any of them is odd."""
    try:
        return picture.getexif().get(ExifTags.Base.Orientation, 1)
    except _DAMAGE:
        log.warning("portrait %s has tags that cannot be read: it is taken as upright", path)
        return 1


def _rgb(picture: Image.Image, path: Path) -> np.ndarray:
    if picture.mode.startswith(("I", "F")):
        picture = _eight_bits(picture)
    transparent = picture.has_transparency_data
    layered = picture.convert("RGBA") if transparent and picture.mode != "LA" else picture
    colours = _screen_colours(layered, path)
    if not transparent:
        return np.asarray(colours)
    background = Image.new("RGB", colours.size, (BACKGROUND,) * 3)
    return np.asarray(Image.composite(colours, background, layered.getchannel("A")))


def _eight_bits(picture: Image.Image) -> Image.Image:
    """Grey of 16 or 32 bit or float; what its white is follows from its values where its kind does not say."""
    values = np.nan_to_num(np.asarray(picture, dtype=np.float64), nan=0.0)
    if picture.mode.startswith("I;16"):
        white = 65535.0
    else:
        bright = np.percentile(values, 99)
        whites = (1.0, 255.0, 65535.0) if picture.mode == "F" else (255.0, 65535.0)
        white = next((white for white in whites if bright <= white), 2.0**31 - 1)
    grey = Image.fromarray(np.rint(np.clip(values / white, 0, 1) * 255).astype(np.uint8))
    grey.info = {name: value for name, value in picture.info.items() if name == "icc_profile"}
    return grey


def _screen_colours(picture: Image.Image, path: Path) -> Image.Image:
    """RGB without transparency; from the colour space of the picture's profile, if it has one, to sRGB."""
    mode = {"1": "L", "L": "L", "LA": "L", "CMYK": "CMYK"}.get(picture.mode, "RGB")
    colours = picture if picture.mode == mode else picture.convert(mode)
    if profile := picture.info.get("icc_profile"):
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            if "sRGB" not in ImageCms.getProfileDescription(source):
                screen = ImageCms.createProfile("sRGB")
                converted = ImageCms.profileToProfile(colours, source, screen, outputMode="RGB")
                return converted or colours
        except (ImageCms.PyCMSError, OSError, ValueError):
            log.warning(
                "portrait %s has a colour profile that cannot be used: its colours are taken as sRGB", path
            )
    return colours if mode == "RGB" else colours.convert("RGB")


def _other_kind(path: Path) -> str:
    """What a file is that is no picture."""
    try:
        with opened(path) as container:
            pictures, sounds = container.streams.video, container.streams.audio
            if container.format.name not in ("tty", "image2") and container.duration:
                if pictures:
                    return "is a video, not a picture: save one of its frames as PNG, or give it as driving=VIDEO"
                if sounds:
                    return "is a sound, not a picture: give it as audio=SOUND"
    except MediaError:
        pass
    return "is not a picture that can be read: give PNG, JPEG, WebP, TIFF, BMP, GIF, AVIF or HEIC"
