"""What visitors of the web page ask for: limits, sentences, stops, and nothing left behind."""

import struct
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile
from stepping_animator import FRAMES, STEPS, Animator

from aniportrait.cli import web_jobs
from aniportrait.cli.web_jobs import Jobs, seconds_of
from aniportrait.data.media import probe, read_video

RATE = 16_000


class Visitors:
    """Jobs with the folders that they see, and uploads to make."""

    def __init__(self, folder: Path):
        self.uploads, self.unfinished = folder / "uploads", folder / "unfinished"
        self.uploads.mkdir()
        self.unfinished.mkdir()
        self.said = []

    def jobs(self, animator=None, longest=2.0) -> Jobs:
        return Jobs(animator or Animator(), self.uploads, self.unfinished, longest)

    def portrait(self) -> str:
        file = self.uploads / "face.png"
        file.write_bytes(b"a picture, as far as jobs are concerned")
        return str(file)

    def voice(self, seconds: float) -> str:
        file = self.uploads / "voice.wav"
        wavfile.write(file, RATE, np.zeros(round(seconds * RATE), np.int16))
        return str(file)

    def wishes(self, seconds: float = 0.5, **more):
        return {"portrait": self.portrait(), "audio": self.voice(seconds), "driving": None} | more

    def report(self, share: float, said: str) -> None:
        self.said.append((share, said))

    def left(self) -> list[Path]:
        return list(self.unfinished.iterdir())


@pytest.fixture
def visitors(tmp_path) -> Visitors:
    return Visitors(tmp_path)


def test_landmarks_come_first_then_the_video_and_both_are_gone_afterwards(visitors):
    steps = visitors.jobs().run("anna", visitors.wishes(), visitors.report)
    first = next(steps)
    assert first.video is None
    assert len(list(read_video(first.landmarks, None))) == FRAMES
    assert probe(first.landmarks).fps == 25.0
    last = next(steps)
    assert last.video is not None
    assert last.video.read_bytes() == b"a video"
    assert "5 frames, 0.2 s" in last.told
    assert list(steps) == []
    assert visitors.left() == []


@pytest.mark.parametrize(
    ("absent", "words"),
    [({"portrait": None}, "Choose a portrait"), ({"audio": None}, "Choose what moves the portrait")],
)
def test_what_was_not_chosen_is_said(absent, words, visitors):
    with pytest.raises(ValueError, match=words):
        next(visitors.jobs().run("anna", visitors.wishes() | absent, visitors.report))


def test_a_voice_above_the_limit_is_refused_with_its_length(visitors):
    with pytest.raises(ValueError, match=r"voice lasts 3\.5 s, and at most 2 s"):
        next(visitors.jobs(longest=2.0).run("anna", visitors.wishes(3.5), visitors.report))


@pytest.mark.parametrize(("seconds", "asked", "made"), [(3.5, 1.5, 1.5), (0.5, None, 2.0), (0.5, 9.0, 2.0)])
def test_no_more_is_asked_for_than_the_limit(seconds, asked, made, visitors):
    animator = Animator()
    list(visitors.jobs(animator, 2.0).run("a", visitors.wishes(seconds, duration=asked), visitors.report))
    assert animator.asked[0].duration == made


def test_the_voice_says_how_long_it_is_and_not_its_header(visitors):
    voice = Path(visitors.voice(0.5))
    data = bytearray(voice.read_bytes())
    place = data.index(b"data") + 4
    data[place : place + 4] = struct.pack("<I", 2**31)  # a recording that was cut off promises 18 hours
    voice.write_bytes(data)
    assert seconds_of(voice, "audio") == pytest.approx(0.5, abs=0.01)


def test_an_upload_that_the_page_removes_while_its_job_lasts_is_there_to_its_end(visitors):
    animator, wishes = Animator(), visitors.wishes()
    steps = visitors.jobs(animator).run("anna", wishes, visitors.report)
    next(steps)
    Path(wishes["audio"]).unlink()
    assert Path(animator.asked[0].audio).name == "voice.wav"
    assert seconds_of(animator.asked[0].audio, "audio") == pytest.approx(0.5, abs=0.01)
    steps.close()
    assert visitors.left() == []


def test_an_upload_that_was_removed_before_is_asked_for_again(visitors):
    wishes = visitors.wishes()
    Path(wishes["audio"]).unlink()
    with pytest.raises(ValueError, match=r"^The voice was removed here after a while: upload it again\.$"):
        next(visitors.jobs().run("anna", wishes, visitors.report))


@pytest.mark.parametrize("name", ["portrait", "audio", "driving"])
def test_a_file_that_nobody_uploaded_is_refused(name, visitors, tmp_path):
    (tmp_path / "secret.png").write_bytes(b"of the server")
    animator = Animator()
    for path in (tmp_path / "secret.png", visitors.uploads / ".." / "secret.png"):
        with pytest.raises(ValueError, match="is no file that was uploaded here"):
            next(visitors.jobs(animator).run("eve", visitors.wishes(**{name: str(path)}), visitors.report))
    assert animator.asked == []


def test_a_stopped_job_ends_at_its_next_step_and_makes_way(visitors):
    animator = Animator(steps=1000)
    jobs = visitors.jobs(animator)

    def stop_at_the_third(share, said):
        if share == 3 / 1000:
            jobs.stop("anna")

    assert len(list(jobs.run("anna", visitors.wishes(), stop_at_the_third))) == 1
    assert animator.begun == 4
    assert visitors.left() == []
    animator.steps = STEPS
    assert len(list(jobs.run("bert", visitors.wishes(), visitors.report))) == 2


def test_who_waits_for_a_stopped_job_waits_for_the_step_that_it_is_in(visitors):
    animator = Animator()
    jobs, wishes = visitors.jobs(animator), visitors.wishes()
    animator.gate.clear()
    jobs.wait("bert")
    with ThreadPoolExecutor(2) as threads:
        job = threads.submit(lambda: list(jobs.run("anna", wishes, visitors.report)))
        while not animator.asked:
            time.sleep(0.01)
        jobs.stop("anna")
        waiting = threads.submit(lambda: jobs.wait("anna"))
        time.sleep(0.2)
        assert not waiting.done()
        animator.gate.set()
        assert job.result() == []
        waiting.result(timeout=10)


def test_nobody_stops_the_job_of_another(visitors):
    jobs = visitors.jobs()
    steps = jobs.run("anna", visitors.wishes(), visitors.report)
    next(steps)
    jobs.stop("bert")
    assert next(steps).video is not None


def test_a_visitor_who_leaves_leaves_no_files(visitors):
    steps = visitors.jobs().run("anna", visitors.wishes(), visitors.report)
    next(steps)
    assert len(visitors.left()) == 1
    steps.close()
    assert visitors.left() == []


def test_one_video_is_made_at_a_time(visitors, monkeypatch):
    monkeypatch.setattr(web_jobs, "LONGEST_STEP", 0)
    jobs = visitors.jobs()
    steps = jobs.run("anna", visitors.wishes(), visitors.report)
    next(steps)
    with pytest.raises(ValueError, match="Another video is being made"):
        next(jobs.run("bert", visitors.wishes(), visitors.report))
    list(steps)
    assert len(list(jobs.run("bert", visitors.wishes(), visitors.report))) == 2


def test_the_next_job_waits_for_the_step_that_a_stopped_one_is_in(visitors):
    animator = Animator()
    jobs, wishes = visitors.jobs(animator), visitors.wishes()
    animator.gate.clear()
    with ThreadPoolExecutor(3) as threads:
        first = threads.submit(lambda: list(jobs.run("anna", wishes, visitors.report)))
        while not animator.asked:
            time.sleep(0.01)
        jobs.stop("anna")
        second = threads.submit(lambda: list(jobs.run("bert", wishes, visitors.report)))
        third = threads.submit(lambda: list(jobs.run("anna", wishes, visitors.report)))
        while len([said for _, said in visitors.said if "Waiting" in said]) < 4:
            time.sleep(0.01)
        jobs.stop("anna")
        assert third.result() == []
        assert not second.done()
        animator.gate.set()
        assert first.result() == []
        assert len(second.result()) == 2


def test_a_sentence_names_the_upload_and_not_where_it_lies(visitors):
    wishes = visitors.wishes()
    animator = Animator(problem=ValueError(f"portrait {wishes['portrait']} shows no face"))
    with pytest.raises(ValueError, match=r"portrait face\.png shows no face"):
        next(visitors.jobs(animator).run("anna", wishes, visitors.report))


def test_a_bug_stays_one_and_makes_way(visitors):
    animator = Animator(problem=RuntimeError("shapes differ"))
    jobs = visitors.jobs(animator)
    with pytest.raises(RuntimeError):
        next(jobs.run("anna", visitors.wishes(), visitors.report))
    animator.problem = None
    assert len(list(jobs.run("bert", visitors.wishes(), visitors.report))) == 2


def test_the_time_that_is_left_follows_from_the_time_that_passed(visitors, monkeypatch):
    now = iter(range(0, 1000, 10))  # a step every ten seconds, and the clock is read twice at the first
    monkeypatch.setattr(web_jobs.time, "monotonic", lambda: next(now))
    list(visitors.jobs().run("anna", visitors.wishes(), visitors.report))
    sampling = [said for share, said in visitors.said if share]
    assert sampling == [
        "Making frames",
        "Making frames, about 20 s left",
        "Making frames, about 10 s left",
        "Making frames",
    ]
