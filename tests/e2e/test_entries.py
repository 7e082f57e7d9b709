"""The entries as typed: help that explains, one sentence on stderr and exit code 2."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*words: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / words[0]), *words[1:]]
    environment = {**os.environ, **variables}
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=240, env=environment)


@pytest.mark.parametrize(
    "entry", ["train.py", "evaluate.py", "animate.py", "prepare.py", "convert.py", "download.py", "web.py"]
)
def test_help_shows_a_command_to_copy(entry, tmp_path):
    finished = run(entry, "--help", cwd=tmp_path)
    assert finished.returncode == 0
    assert f"python {entry}" in finished.stdout


def test_the_papers_setting_stops_at_once_and_lists_what_is_missing(tmp_path):
    finished = run("train.py", "experiment=stage2_motion", cwd=tmp_path)
    assert finished.returncode == 2
    assert len(finished.stderr.strip().splitlines()) == 1
    for words in (
        "sd-vae-ft-mse",
        "autoencoder.path",
        "mm_sd_v15_v2.ckpt",
        "weights=",
        "data.folder",
        "prepare.py",
    ):
        assert words in finished.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("prepare.py", 'source.path="no such (folder)"', "out=shards"), "no such (folder)"),
        (("evaluate.py", "weights=absent", "data=shards"), "absent"),
        (("animate.py", "weights=absent", "portrait=absent.png", "audio=absent.wav"), "absent.png"),
        (("web.py", "weights=absent"), "absent"),
        (("convert.py", "published=absent", "out=weights"), "download.py"),
    ],
)
def test_a_path_that_leads_nowhere_is_one_sentence_and_exit_code_2(words, said, tmp_path):
    finished = run(*words, cwd=tmp_path)
    assert finished.returncode == 2, finished.stderr
    assert said in finished.stderr
    assert len(finished.stderr.strip().splitlines()) == 1


def test_a_download_without_a_network_is_one_sentence_and_exit_code_2(tmp_path):
    finished = run("download.py", "out=pretrained_model", cwd=tmp_path, HF_ENDPOINT="http://127.0.0.1:9")
    assert finished.returncode == 2, finished.stderr
    assert "http://127.0.0.1:9/stable-diffusion-v1-5" in finished.stderr
    assert "is out of reach" in finished.stderr
    assert len(finished.stderr.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_clips_that_are_all_bad_are_named_and_exit_code_is_2(tmp_path):
    clips = tmp_path / "my clips (1)"
    clips.mkdir()
    (clips / "letter.mp4").write_text("dear reader\n" * 40)
    (clips / "nothing.mp4").write_bytes(b"")
    finished = run("prepare.py", f'source.path="{clips}"', "out=shards", "workers=0", cwd=tmp_path)
    assert finished.returncode == 2, finished.stderr
    assert "letter.mp4" in finished.stderr
    assert "Traceback" not in finished.stderr


def test_a_number_that_cannot_be_is_one_sentence_too(tmp_path):
    words = (
        "experiment=audio2mesh",
        "model=tiny",
        "trainer=cpu",
        "data=synthetic",
        "logger=csv",
        "batch_size=0",
    )
    finished = run("train.py", *words, cwd=tmp_path)
    assert finished.returncode == 2, finished.stderr
    assert "batch_size (0)" in finished.stderr
    assert len(finished.stderr.strip().splitlines()) == 1
