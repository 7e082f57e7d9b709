"""Pictures of every kind, drawn so that their pixels are known, and files that hold none."""

import contextlib
import io
import os
import sys

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from aniportrait.data.media import write_video
from aniportrait.data.sound import encode_flac
from aniportrait.pipelines.picture_file import BACKGROUND, read_image

GREY = np.tile(np.arange(0, 240, 10, dtype=np.uint8), (16, 1))
RGB = np.dstack((GREY, GREY[:, ::-1], np.full_like(GREY, 90)))
HALF = np.where(np.arange(24) < 12, 255, 0).astype(np.uint8) * np.ones((16, 1), np.uint8)
"""An alpha channel: the left half shows."""


def saved(path, picture, **options):
    (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(path, **options)
    return path


def grey_pixels(values):
    return np.repeat(np.asarray(values)[..., None], 3, axis=2)


STORED = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.swapaxes(0, 1),
    6: lambda upright: np.rot90(upright),
    7: lambda upright: upright[::-1, ::-1].swapaxes(0, 1),
    8: lambda upright: np.rot90(upright, -1),
}
"""How EXIF's orientations lay a picture into the file."""


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.webp", "a.jpg"])
@pytest.mark.parametrize("tag", STORED)
def test_a_picture_with_any_rotation_tag_is_upright(tmp_path, tag, name):
    upright = np.zeros((16, 24, 3), np.uint8)
    upright[:8, :8], upright[:8, 8:], upright[8:, :8] = 250, 160, 80
    exif = Image.Exif()
    exif[0x0112] = tag
    lossless = {"lossless": True} if name == "a.webp" else {"quality": 98}
    stored = np.ascontiguousarray(STORED[tag](upright))
    path = saved(tmp_path / name, stored, exif=exif, **(lossless if name in ("a.webp", "a.jpg") else {}))
    np.testing.assert_allclose(read_image(path), upright, atol=3)


def test_tags_that_cannot_be_read_cost_a_warning_and_not_the_picture(tmp_path, caplog):
    path = saved(tmp_path / "a.png", RGB, exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    np.testing.assert_array_equal(read_image(path), RGB)
    bad = saved(tmp_path / "b.png", RGB, exif=b"Exif\0\0nonsense")
    np.testing.assert_array_equal(read_image(bad), RGB)
    assert "taken as upright" in caplog.text


MODES = {
    "RGB": (Image.fromarray(RGB), RGB),
    "L": (Image.fromarray(GREY), grey_pixels(GREY)),
    "1": (Image.fromarray(GREY > 110), grey_pixels(np.where(GREY > 110, 255, 0))),
    "P": (Image.fromarray(RGB).quantize(256), RGB),
    "I;16": (Image.fromarray(GREY.astype(np.uint16) * 257), grey_pixels(GREY)),
    "I;16, dark": (Image.fromarray(GREY.astype(np.uint16)), grey_pixels(np.zeros_like(GREY))),
    "RGBA": (Image.fromarray(np.dstack((RGB, HALF))), np.where(HALF[..., None] > 0, RGB, BACKGROUND)),
    "LA": (
        Image.merge("LA", (Image.fromarray(GREY), Image.fromarray(HALF))),
        np.where(HALF[..., None] > 0, grey_pixels(GREY), BACKGROUND),
    ),
}


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
@pytest.mark.parametrize("mode", MODES)
def test_a_picture_of_any_mode_is_rgb_with_grey_where_it_is_transparent(tmp_path, mode, name):
    picture, expected = MODES[mode]
    read = read_image(saved(tmp_path / name, picture))
    assert read.dtype == np.uint8
    assert read.flags.c_contiguous
    np.testing.assert_allclose(read, expected, atol=1)


def test_a_colour_that_a_palette_says_is_transparent_is_grey(tmp_path):
    picture = Image.fromarray(np.array([[0, 1, 2]], np.uint8), "P")
    picture.putpalette([250, 0, 0, 0, 250, 0, 0, 0, 250])
    for name in ("a.png", "a.gif"):
        read = read_image(saved(tmp_path / name, picture, transparency=1))
        np.testing.assert_array_equal(read, [[[250, 0, 0], [BACKGROUND] * 3, [0, 0, 250]]])


def test_half_transparent_pixels_are_half_grey(tmp_path):
    picture = np.full((4, 4, 4), (255, 255, 255, 128), np.uint8)
    np.testing.assert_allclose(read_image(saved(tmp_path / "a.png", picture)), 191, atol=1)


def test_colours_of_16_bit_are_scaled(tmp_path):
    for name, alpha in (("a.png", False), ("a.tif", False), ("b.png", True)):
        colours = RGB[..., ::-1].astype(np.uint16) * 257
        deep = np.dstack((colours, HALF.astype(np.uint16) * 257)) if alpha else colours
        cv2.imwrite(str(tmp_path / name), deep)
        expected = np.where(HALF[..., None] > 0, RGB, BACKGROUND) if alpha else RGB
        np.testing.assert_allclose(read_image(tmp_path / name), expected, atol=1)


@pytest.mark.parametrize("white", [1.0, 255.0, 65535.0])
def test_a_float_picture_is_as_bright_whatever_its_white_is(tmp_path, white):
    values = (GREY / 255 * white).astype(np.float32)
    values[0, 0] = np.nan
    np.testing.assert_allclose(
        read_image(saved(tmp_path / "a.tif", values)),
        np.where(np.isnan(values)[..., None], 0, grey_pixels(GREY)),
    )


def test_the_four_colours_of_print_become_three(tmp_path):
    picture = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    for name in ("a.tif", "a.jpg"):
        np.testing.assert_allclose(
            read_image(saved(tmp_path / name, picture)), [[[255, 0, 0]] * 8] * 8, atol=3
        )


def swapped_profile():
    """A colour profile whose first channel is blue and whose third is red."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, blue = profile.index(b"rXYZ"), profile.index(b"bXYZ")
    profile[red : red + 4], profile[blue : blue + 4] = b"bXYZ", b"rXYZ"
    return bytes(profile).replace("sRGB".encode("utf-16-be"), "BGRs".encode("utf-16-be"))


@pytest.mark.parametrize("alpha", [False, True])
def test_colours_are_those_that_the_profile_means(tmp_path, alpha):
    pixels = np.dstack((RGB, HALF)) if alpha else RGB
    read = read_image(saved(tmp_path / "a.png", pixels, icc_profile=swapped_profile()))
    meant = np.where(HALF[..., None] > 0, RGB[..., ::-1], BACKGROUND) if alpha else RGB[..., ::-1]
    np.testing.assert_allclose(read, meant, atol=2)


def test_a_profile_of_the_screen_changes_no_pixel(tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    np.testing.assert_array_equal(read_image(saved(tmp_path / "a.png", RGB, icc_profile=profile)), RGB)


@pytest.mark.parametrize("profile", [b"nonsense", swapped_profile()], ids=["damaged", "of colours, on grey"])
def test_a_profile_that_cannot_be_used_costs_a_warning_and_not_the_picture(tmp_path, caplog, profile):
    path = saved(tmp_path / "a.png", GREY, icc_profile=profile)
    np.testing.assert_array_equal(read_image(path), grey_pixels(GREY))
    assert "taken as sRGB" in caplog.text


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png", "a.tif"])
def test_of_a_picture_that_moves_the_first_frame_is_taken(tmp_path, name):
    frames = [Image.new("RGB", (16, 16), (shade,) * 3) for shade in (200, 100, 0)]
    path = saved(tmp_path / name, frames[0], save_all=True, append_images=frames[1:])
    assert getattr(Image.open(path), "n_frames", 1) == 3
    np.testing.assert_allclose(read_image(path), 200, atol=1)


@pytest.mark.parametrize("name", ["a.bmp", "a.jp2", "a.avif", "a.ppm", "a.qoi", "a.heic"])
def test_a_picture_of_any_format_is_read(tmp_path, name):
    if name == "a.heic":
        pytest.importorskip("pillow_heif").register_heif_opener()
    options = {"quality": 95} if name in ("a.avif", "a.heic") else {}
    smooth = np.repeat(np.repeat(RGB, 4, axis=0), 4, axis=1)
    read = read_image(saved(tmp_path / name, smooth, **options))
    assert np.abs(read.astype(int) - smooth).mean() < 4


def truncated(path):
    saved(path, np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))
    path.write_bytes(path.read_bytes()[:2000])


def bad_header(path):
    saved(path, RGB)
    path.write_bytes(b"\0" * 8 + path.read_bytes()[8:])


def film(path):
    write_video(path.with_suffix(".mp4"), [np.zeros((32, 32, 3), np.uint8)] * 10, 25.0)
    path.with_suffix(".mp4").rename(path)


def heic(path):
    path.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")


BAD = {
    "nothing": ("a.png", lambda path: None, r"does not exist"),
    "a folder": ("a.png", os.mkdir, r"is a folder or a device: give one picture file"),
    "a pipe": ("a.png", os.mkfifo, r"is a folder or a device"),
    "no bytes": ("a.png", lambda path: path.touch(), r"is empty \(0 bytes\)"),
    "one byte": (
        "a.png",
        lambda path: path.write_bytes(b"\x89"),
        r"is not a picture that can be read: give PNG",
    ),
    "text": (
        "a.txt",
        lambda path: path.write_text("a portrait\n" * 50),
        r"is not a picture that can be read",
    ),
    "text named jpg": (
        "a.jpg",
        lambda path: path.write_text("x" * 999),
        r"is not a picture that can be read",
    ),
    "a page": (
        "a.png",
        lambda path: path.write_text("<html>404</html>"),
        r"is not a picture that can be read",
    ),
    "a vector": ("a.svg", lambda path: path.write_text("<svg></svg>"), r"is not a picture that can be read"),
    "a program for a printer": (
        "a.eps",
        lambda path: path.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n"),
        r"is not a picture that can be read",
    ),
    "cut png": (
        "a.png",
        truncated,
        r"\(image file is truncated\): it may be damaged or cut short, save it again",
    ),
    "cut jpeg": ("a.jpg", truncated, r"\(image file is truncated .*\): it may be damaged or cut short"),
    "cut webp": ("a.webp", truncated, r"is not a picture that can be read|may be damaged or cut short"),
    "cut tiff": ("a.tif", truncated, r"may be damaged or cut short"),
    "no header": ("a.png", bad_header, r"is not a picture that can be read"),
    "too many pixels": (
        "a.ppm",
        lambda path: path.write_bytes(b"P5 20000 20000 255\n"),
        r"has more than 179 million pixels: shrink it first",
    ),
    "a film": (
        "a.png",
        film,
        r"is a video, not a picture: save one of its frames as PNG, or give it as driving",
    ),
    "a sound": (
        "a.jpg",
        lambda path: path.write_bytes(encode_flac(np.zeros(1600, np.float32))),
        r"is a sound, not a picture: give it as audio",
    ),
    "a damaged heic": ("a.heic", heic, r"is not a picture that can be read|pip install pillow-heif"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_picture_is_told_in_one_sentence(tmp_path, kind):
    name, make, message = BAD[kind]
    path = tmp_path / name
    make(path)
    with pytest.raises((ValueError, FileNotFoundError), match=message) as told:
        read_image(path)
    assert str(told.value).startswith(f"portrait {path} ")
    assert "\n" not in str(told.value)


def test_a_phones_picture_names_the_plugin_where_there_is_none(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    heic(tmp_path / "a.heic")
    with pytest.raises(
        ValueError,
        match=r"^portrait \S+ is a HEIC picture, which needs a plugin: pip install pillow-heif, or",
    ):
        read_image(tmp_path / "a.heic")


def test_damage_anywhere_ends_in_a_picture_or_in_a_sentence(tmp_path):
    rng = np.random.default_rng(0)
    for kind in ("PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "AVIF"):
        buffer = io.BytesIO()
        Image.fromarray(RGB).save(buffer, kind)
        for _ in range(20):
            data = bytearray(buffer.getvalue())
            for place in rng.integers(0, min(len(data), 200), 4):
                data[place] = rng.integers(256)
            (tmp_path / "a").write_bytes(data[: rng.integers(len(data) // 2, len(data) + 1)])
            with contextlib.suppress(ValueError):  # and nothing else
                assert read_image(tmp_path / "a").ndim == 3
