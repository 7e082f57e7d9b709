"""Whatever is handed to animate.py works, or ends with one clear sentence, exit code 2 and nothing half-written."""

import numpy as np
import pytest
from animate_cases import BAD, WORKS
from animate_inputs import RATE, Good
from entries import composed
from PIL import Image
from scipy.io import wavfile

from aniportrait.cli.animate import animate
from aniportrait.cli.sentences import one_sentence_errors
from aniportrait.data.clip_codec import decode_frames
from aniportrait.data.media import probe, read_video, write_video
from aniportrait.data.shards import ShardIndex, read_sample
from aniportrait.data.sound import read_audio
from aniportrait.data.synthetic import SyntheticTalkers


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> Good:
    """A drawn person at 160 pixels, half a second of voice, and a film of both."""
    folder = tmp_path_factory.mktemp("good")
    SyntheticTalkers(identities=1, clips_per_identity=1, seconds=0.6, image_size=160, workers=1).write(
        folder / "s"
    )
    index = ShardIndex.load(folder / "s")
    sample = read_sample(index.folder, index.samples[0])
    frames = decode_frames(sample.video, range(12))
    made = Good(folder / "face.png", folder / "voice.wav", folder / "film.mp4")
    Image.fromarray(frames[0]).save(made.portrait)
    speech = sample.audio[: RATE // 2]
    wavfile.write(made.voice, RATE, (speech * 32767).astype(np.int16))
    write_video(made.film, list(frames), 25.0, speech)
    return made


def run(make, good, weights, folder):
    """Run the entry in this process; its exit code."""
    inputs, out = folder / "inputs", folder / "made" / "out.mp4"
    inputs.mkdir()
    words = [
        f"weights={weights}",
        f"portrait={good.portrait}",
        f"audio={good.voice}",
        f"out={out}",
        "steps=1",
    ]
    with composed("animate", *words, *make(inputs, good).split()) as config:
        try:
            one_sentence_errors(animate)(config)
        except SystemExit as ended:
            return ended.code
    return 0


@pytest.mark.parametrize("case", WORKS)
def test_what_people_have_becomes_a_video(case, good, trained, tmp_path):
    assert run(WORKS[case], good, trained / "weights", tmp_path) == 0
    made = tmp_path / "made"
    assert [file.name for file in made.iterdir()] == ["out.mp4"]
    seconds = len(list(read_video(made / "out.mp4", None))) / probe(made / "out.mp4").fps
    assert 0.03 < seconds < 0.6


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_animated_is_one_sentence(case, good, trained, tmp_path, capsys):
    make, words = BAD[case]
    assert run(make, good, trained / "weights", tmp_path) == 2
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(said) == 1
    assert words in said[0]
    left = tmp_path / "made"
    assert not left.exists() or not list(left.iterdir())


@pytest.mark.parametrize("fps", [12.0, 23.976, 25.0, 30.0, 60.0])
def test_picture_and_sound_last_as_long_as_the_voice(fps, good, trained, tmp_path):
    assert run(lambda folder, good: f"fps={fps}", good, trained / "weights", tmp_path) == 0
    out = tmp_path / "made" / "out.mp4"
    assert abs(len(list(read_video(out, None))) / fps - 0.5) <= 1 / fps
    assert abs(len(read_audio(out)) / RATE - 0.5) <= 1 / fps + 1024 / RATE
