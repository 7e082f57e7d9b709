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
from aniportrait.face.track import FaceTrack
from aniportrait.pipelines.landmark_track import LandmarkTrack

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


def late_face(folder: Path, good: Good) -> str:
    """A track of a second whose face comes after what is used of it."""
    f, generator = 25, np.random.default_rng(0)
    places = {
        name: generator.random((f, n, 3), np.float32) for name, n in (("landmarks", 478), ("vertices", 468))
    }
    pose = np.eye(4, dtype=np.float32)
    pose[2, 3] = -40.0
    track = FaceTrack(
        pose_matrix=np.tile(pose, (f, 1, 1)),
        blendshapes=np.zeros((f, 52), np.float32),
        valid=np.arange(f) > 20,
        **places,
    )
    LandmarkTrack(track, 25.0).save(folder / "late.npz")
    return f"audio=null track={folder / 'late.npz'} duration=0.4"


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
