"""What people hand in: good files of odd kinds and bad ones, made here."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageOps
from scipy.io import wavfile

from aniportrait.data.media import write_video

RATE = 16_000


class Good:
    """The files that each case spoils one of.

    Args:
        portrait: a picture of one face; voice: half a second of speech; film: a face moving, with sound.
    """

    def __init__(self, portrait: Path, voice: Path, film: Path):
        self.portrait, self.voice, self.film = portrait, voice, film

    @property
    def face(self) -> Image.Image:
        return Image.open(self.portrait).convert("RGB")

    @property
    def speech(self) -> np.ndarray:
        return wavfile.read(self.voice)[1]


def written(file: Path, data: bytes) -> Path:
    file.write_bytes(data)
    return file


def half(source: Path, file: Path, share: float = 0.5) -> Path:
    data = source.read_bytes()
    return written(file, data[: int(len(data) * share)])


def picture(change: Callable[[Image.Image], Image.Image], name: str, **options):
    def make(folder: Path, good: Good) -> str:
        change(good.face).save(folder / name, **options)
        return f"portrait={folder / name}"

    return make


def sound(samples: Callable[[np.ndarray], np.ndarray], rate: int = RATE):
    def make(folder: Path, good: Good) -> str:
        wavfile.write(folder / "sound.wav", rate, samples(good.speech))
        return f"audio={folder / 'sound.wav'}"

    return make


def coded(name: str, codec: str, rate: int, layout: str = "stereo"):
    """The voice in another container and codec."""

    def make(folder: Path, good: Good) -> str:
        samples = good.speech.astype(np.float32) / 32768
        with av.open(str(folder / name), "w") as container:
            stream = container.add_stream(codec, rate=rate, layout=layout)
            resampler = av.AudioResampler(format=stream.format, layout=layout, rate=rate)
            frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
            frame.sample_rate = RATE
            for part in resampler.resample(frame) + resampler.resample(None):
                container.mux(stream.encode(part))
            container.mux(stream.encode(None))
        return f"audio={folder / name}"

    return make


def file_of(setting: str, name: str, data: bytes):
    return lambda folder, good: f"{setting}={written(folder / name, data)}"


def cut(setting: str, kind: str, name: str, share: float = 0.5):
    return lambda folder, good: f"{setting}={half(getattr(good, kind), folder / name, share)}"


def film(frames: Callable[[Good], list[np.ndarray]], fps: float = 25.0):
    def make(folder: Path, good: Good) -> str:
        write_video(folder / "film.mp4", frames(good), fps)
        return f"audio=null driving={folder / 'film.mp4'}"

    return make


def as_driving(make: Callable[[Path, Good], str]):
    return lambda folder, good: f"audio=null {make(folder, good)}"


def npz(**arrays: np.ndarray):
    def make(folder: Path, good: Good) -> str:
        np.savez(folder / "track.npz", **arrays)
        return f"audio=null track={folder / 'track.npz'}"

    return make


def folder_named(setting: str, name: str):
    def make(folder: Path, good: Good) -> str:
        (folder / name).mkdir()
        return f"{setting}={folder / name}"

    return make


def bomb(folder: Path, good: Good) -> str:
    Image.new("1", (30_000, 30_000)).save(folder / "bomb.png")
    return f"portrait={folder / 'bomb.png'}"


def animated(folder: Path, good: Good) -> str:
    frames = [good.face, ImageOps.mirror(good.face)]
    frames[0].save(folder / "face.gif", save_all=True, append_images=frames[1:])
    return f"portrait={folder / 'face.gif'}"


def turned(folder: Path, good: Good) -> str:
    """A picture on its side whose tag says so."""
    exif = Image.Exif()
    exif[0x0112] = 6
    good.face.rotate(90, expand=True).save(folder / "turned.jpg", exif=exif)
    return f"portrait={folder / 'turned.jpg'}"


def sixteen_bit(folder: Path, good: Good) -> str:
    grey = np.asarray(good.face.convert("L"), np.uint16) * 257
    Image.fromarray(grey).save(folder / "grey16.png")
    return f"portrait={folder / 'grey16.png'}"


def pickled(folder: Path, good: Good) -> str:
    np.save(folder / "pose.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    return f"head_pose={folder / 'pose.npy'}"


def damaged_npz(folder: Path, good: Good) -> str:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("vertices.npy", b"nothing")
    return f"audio=null track={written(folder / 'track.npz', buffer.getvalue())}"


def faces(*places: tuple[int, int], size: int = 160):
    """A picture with the face at several places."""

    def make(folder: Path, good: Good) -> str:
        canvas = Image.new("RGB", (640, 320), (120, 120, 120))
        for place in places:
            canvas.paste(good.face.resize((size, size)), place)
        canvas.save(folder / "group.png")
        return f"portrait={folder / 'group.png'}"

    return make


def together(*parts: str | Callable[[Path, Good], str]):
    return lambda folder, good: " ".join(p if isinstance(p, str) else p(folder, good) for p in parts)


def setting(text: str):
    return lambda folder, good: text


NO_FACE = np.full((128, 128, 3), 90, np.uint8)

WORKS = {
    "a picture twice as wide as high": picture(lambda f: ImageOps.pad(f, (600, 300)), "wide.png"),
    "a tall picture": picture(lambda f: ImageOps.pad(f, (200, 500)), "tall.png"),
    "a large picture": picture(lambda f: f.resize((2400, 2400)), "large.jpg"),
    "a grey picture": picture(lambda f: f.convert("L"), "grey.png"),
    "a picture of 16 bits": sixteen_bit,
    "a picture with alpha": picture(lambda f: f.convert("RGBA"), "alpha.png"),
    "grey with alpha": picture(lambda f: f.convert("LA"), "la.png"),
    "a palette": picture(lambda f: f.convert("P"), "palette.png"),
    "a picture for print": picture(lambda f: f.convert("CMYK"), "cmyk.jpg"),
    "a WebP": picture(lambda f: f, "face.webp"),
    "a TIFF": picture(lambda f: f, "face.tif"),
    "a moving picture": animated,
    "a rotation tag": turned,
    "a JPEG named PNG": lambda d, g: (g.face.save(d / "a.png", "JPEG"), f"portrait={d / 'a.png'}")[1],
    "two faces": faces((20, 80), (400, 80)),
    "the second of two faces": together(faces((20, 80), (400, 80)), "face=2"),
    "the whole picture back": together(faces((20, 80), (400, 80)), "paste_back=true label=true"),
    "silence": sound(np.zeros_like),
    "a tenth of a second": sound(lambda s: s[: RATE // 10]),
    "8 bits": sound(lambda s: (s // 256 + 128).astype(np.uint8)),
    "floating point": sound(lambda s: (s / 32768).astype(np.float32)),
    "96 kHz": sound(lambda s: np.repeat(s, 6), 96_000),
    "six channels": sound(lambda s: np.repeat(s[:, None], 6, axis=1)),
    "clipped sound": sound(lambda s: np.clip(s.astype(np.int32) * 20, -32768, 32767).astype(np.int16)),
    "flac": coded("voice.flac", "flac", 44_100),
    "mp3": coded("voice.mp3", "libmp3lame", 44_100),
    "m4a": coded("voice.m4a", "aac", 48_000),
    "opus": coded("voice.ogg", "libopus", 48_000),
    "a sound file cut in half": cut("audio", "voice", "cut.wav"),
    "the sound of a film": lambda d, g: f"audio={g.film}",
    "a film cut in half": as_driving(cut("driving", "film", "cut.mp4")),
    "a film of one frame": film(lambda g: [np.asarray(g.face)]),
    "a film of odd size": film(lambda g: [np.asarray(g.face.resize((127, 133)))] * 4),
    "a film whose face goes": film(
        lambda g: [np.asarray(g.face)] * 4 + [np.zeros((*g.face.size, 3), np.uint8)] * 4
    ),
    "a film of 60 frames a second": film(lambda g: [np.asarray(g.face)] * 8, 60.0),
    "voice and film together": lambda d, g: f"driving={g.film}",
    "a film's face and a still head": lambda d, g: f"audio=null driving={g.film} head_pose=still",
    "a head turned as the film's": lambda d, g: f"audio=null driving={g.film} head_pose=absolute",
    "a film's head for a voice": lambda d, g: f"head_pose={g.film}",
    "no expression": setting("expression=0"),
    "29.97 frames a second": setting("fps=29.97"),
    "the original's windows": setting("context=closed_loop"),
    "fast": setting("speed=fast"),
    "balanced": setting("speed=balanced"),
    "bf16": setting("precision=bf16"),
}
"""Case -> what is set; all of these end with a video of the right length."""

BAD = {
    "a portrait that is absent": (setting("portrait=absent.png"), "does not exist"),
    "a portrait that is a folder": (folder_named("portrait", "pictures"), "folder"),
    "an empty portrait": (file_of("portrait", "empty.png", b""), "empty"),
    "a portrait that is text": (file_of("portrait", "text.png", b"no picture at all" * 9), "picture"),
    "a portrait that is noise": (file_of("portrait", "n.jpg", bytes(range(256)) * 9), "picture"),
    "a portrait cut in half": (cut("portrait", "portrait", "cut.png"), "cut.png"),
    "a film as portrait": (lambda d, g: f"portrait={g.film}", "picture"),
    "a sound as portrait": (lambda d, g: f"portrait={g.voice}", "picture"),
    "a portrait of nobody": (picture(lambda f: Image.new("RGB", (300, 300), "grey"), "g.png"), "no face"),
    "one pixel": (picture(lambda f: f.resize((1, 1)), "one.png"), "face"),
    "a line": (picture(lambda f: f.resize((900, 2)), "line.png"), "face"),
    "a tiny face": (picture(lambda f: f.resize((14, 14)), "tiny.png"), "face"),
    "a picture too large to open": (bomb, "pixels"),
    "a third face of one": (setting("face=3"), "face"),
    "a face before the first": (setting("face=0"), "face"),
    "a voice that is absent": (setting("audio=absent.wav"), "does not exist"),
    "a voice that is a folder": (folder_named("audio", "sounds"), "folder"),
    "an empty voice": (file_of("audio", "empty.wav", b""), "empty"),
    "a voice of no samples": (sound(lambda s: s[:0]), "zero samples"),
    "a voice that is text": (file_of("audio", "text.mp3", b"no sound at all" * 99), "text.mp3"),
    "a picture as voice": (lambda d, g: f"audio={g.portrait}", "no sound"),
    "a film without sound as voice": (
        lambda d, g: film(lambda g: [NO_FACE] * 4)(d, g).replace("audio=null driving", "audio"),
        "no sound",
    ),
    "a voice of two samples": (sound(lambda s: s[:2]), "0.1"),
    "a film that is absent": (setting("audio=null driving=absent.mp4"), "does not exist"),
    "a film that is text": (as_driving(file_of("driving", "t.mp4", b"no film" * 99)), "t.mp4"),
    "an empty film": (as_driving(file_of("driving", "e.mp4", b"")), "empty"),
    "a film of nobody": (film(lambda g: [NO_FACE] * 5), "no face"),
    "a film that is a sound": (lambda d, g: f"audio=null driving={g.voice}", "no picture"),
    "a film and a track": (lambda d, g: f"driving={g.film} track={g.film}", "one of them"),
    "a track that is a film": (lambda d, g: f"audio=null track={g.film}", "track"),
    "a track of other arrays": (npz(a=np.zeros(3)), "track"),
    "a damaged track": (damaged_npz, "track"),
    "a track that is absent": (setting("audio=null track=absent.npz"), "does not exist"),
    "a pickled head pose": (pickled, "pose.npy"),
    "an unknown head motion": (setting("head_pose=nodding"), "head_pose=nodding"),
    "a head to follow and no film": (setting("head_pose=absolute"), "needs a head to follow"),
    "nothing that drives": (setting("audio=null"), "nothing drives"),
    "no portrait": (setting("portrait=null"), "portrait"),
    "too strong an expression": (setting("expression=9"), "expression"),
    "an expression below none": (setting("mouth=-1"), "mouth"),
    "no length": (setting("duration=0"), "duration (0) must be more than 0 seconds"),
    "no rate": (setting("fps=0"), "fps (0) must be more than 0 frames per second"),
    "a rate below nothing": (setting("fps=-5"), "fps (-5)"),
    "a thousand frames a second": (setting("fps=1000"), "fps (1000)"),
    "no steps": (setting("steps=0"), "steps (0) must be at least 1"),
    "an unknown solver": (setting("solver=euler"), "solver=euler"),
    "an unknown speed": (setting("speed=warp"), "speed=warp"),
    "an unknown precision": (setting("precision=int3"), "precision=int3"),
    "unknown windows": (setting("context=round"), "context=round"),
    "one number for an interval": (setting("guidance_interval=[0.8,0.2]"), "rise within 0 to 1"),
    "no number for guidance": (setting("guidance_scale=nan"), "guidance_scale"),
    "too many steps": (setting("steps=2000"), "at most 1000"),
    "a seed below nothing": (setting("seed=-1"), "seed (-1)"),
    "an unknown compiler": (setting("compile=foo"), "compile=foo"),
    "a device of another kind": (setting("device=mps"), "device=mps"),
    "the result in place of the voice": (lambda d, g: f"audio={g.film} out={g.film}", "overwritten"),
    "a result where none can be": (setting("out=/proc/nowhere/o.mp4"), "cannot be written"),
    "one number for two": (setting("guidance_interval=[0.5]"), "two numbers"),
    "a size that does not divide": (setting("image_size=65"), "image_size"),
    "a machine that is not there": (setting("device=cuda:77"), "device"),
    "a style nobody has": (setting("style=5000"), "style"),
    "weights that are absent": (setting("weights=absent"), "does not exist"),
    "weights that are a picture": (lambda d, g: f"weights={g.portrait}", "torch.save did not write it"),
    "a folder without weights": (folder_named("weights", "nothing"), "model.json"),
    "a result that is no video": (setting("out=result.txt"), "must end in"),
    "a list that is absent": (setting("list=absent.csv"), "does not exist"),
    "a list of unknown columns": (file_of("list", "l.csv", b"portrait,colour\na.png,red\n"), "colour"),
    "a list without rows": (file_of("list", "l.csv", b"portrait,audio\n"), "no rows"),
    "a list of too few cells": (file_of("list", "l.csv", b"portrait,audio\na.png\n"), "row 1"),
    "a list of wrong numbers": (file_of("list", "l.csv", b"portrait,seed\na.png,many\n"), "seed=many"),
}
"""Case -> what is set, and words of the sentence it ends with."""
