"""Every portrait, sound and film of the fixtures, animated by the demo's weights: right length, right sound."""

import os
from pathlib import Path

import numpy as np
import pytest

from aniportrait.data.media import probe, read_video
from aniportrait.data.sound import NoAudioError, read_audio
from aniportrait.pipelines.animator import Animator, Request

DEMO = Path(os.environ.get("DEMO", "outputs/demo"))
RATE = 16_000
DATA = Path(os.environ["SHARED"]).resolve() / "data"
PORTRAITS, SOUNDS, CLIPS = (
    sorted(path.name for path in (DATA / kind).glob("*.*")) for kind in ("portraits", "audio", "clips")
)

pytestmark = [pytest.mark.slow, pytest.mark.shared]


@pytest.fixture(scope="module")
def animator(shared) -> Animator:
    if not (DEMO / "weights" / "model.json").is_file():
        pytest.skip(f"{DEMO}/weights is absent: make demo writes it (DEMO= names another folder)")
    return Animator(DEMO / "weights")


@pytest.fixture(scope="module")
def folder() -> Path:
    """Where the videos stay, to be looked at."""
    return DEMO / "people"


def check(out: Path, heard: np.ndarray, seconds: float, fps: float = 25.0) -> None:
    """The film lasts so long, to the frame, and what is heard is heard in it."""
    assert abs(len(list(read_video(out, None))) / fps - seconds) <= 1 / fps
    sound = read_audio(out, start=0.0)
    both = min(len(sound), len(heard))
    assert abs(len(sound) - len(heard)) <= RATE / fps + 1024
    error = np.sqrt(np.mean((sound[:both] - heard[:both]) ** 2))
    assert error < 0.3 * max(1e-3, np.sqrt(np.mean(heard**2))), "the same sound, which may be silence"


@pytest.mark.parametrize("portrait", PORTRAITS)
def test_every_portrait_speaks(portrait, animator, folder):
    voice, out = DATA / "audio" / SOUNDS[0], folder / f"{portrait}.mp4"
    animator.animate(Request(DATA / "portraits" / portrait, audio=voice, paste_back=True)).save(out)
    heard = read_audio(voice)
    check(out, heard, len(heard) / RATE)
    image = probe(out)
    assert min(image.width, image.height) > 64, "the whole picture"


@pytest.mark.parametrize("sound", SOUNDS)
def test_every_sound_is_spoken(sound, animator, folder):
    out = folder / f"{sound}.mp4"
    animator.animate(Request(DATA / "portraits" / PORTRAITS[0], audio=DATA / "audio" / sound)).save(out)
    heard = read_audio(DATA / "audio" / sound)
    check(out, heard, len(heard) / RATE)


@pytest.mark.parametrize("clip", CLIPS)
def test_every_film_with_sound_drives(clip, animator, folder):
    film, out = DATA / "clips" / clip, folder / f"{clip}.mp4"
    start = probe(film).start
    try:
        heard = read_audio(film, start)
    except NoAudioError:
        pytest.skip(f"{clip} has no sound")
    portrait = DATA / "portraits" / PORTRAITS[CLIPS.index(clip) % len(PORTRAITS)]
    animator.animate(Request(portrait, driving=film)).save(out)
    pictures = sum(1 for _ in read_video(film, 25.0))
    check(
        out, heard[: round(pictures / 25.0 * RATE)], pictures / 25.0
    )  # its sound may end before its picture
