"""The web page in a real browser: files go in, a video plays, and nothing is left when it ends."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np
import pytest
from entries import composed
from PIL import Image
from published_folder import HEADS, write_published_folder
from scipy.io import wavfile

from aniportrait.cli.convert import convert
from aniportrait.data.clip_codec import decode_frames
from aniportrait.data.media import write_video
from aniportrait.data.shards import ShardIndex, read_sample
from aniportrait.data.synthetic import SyntheticTalkers

pytest.importorskip("gradio")
playwright = pytest.importorskip("playwright.sync_api")

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]
RATE = 16_000
PATIENCE = 60_000
"""Milliseconds that anything on the page may take."""


@pytest.fixture(scope="module")
def browser():
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("there is no Chromium (Debian: apt-get install -y chromium)")
    words = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
    with playwright.sync_playwright() as driver:
        launched = driver.chromium.launch(executable_path=program, args=words)
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """face.png, voice.wav (3 s), film.mp4 and nobody.png."""
    folder = tmp_path_factory.mktemp("files")
    SyntheticTalkers(identities=1, clips_per_identity=1, seconds=0.6, image_size=160, workers=1).write(
        folder / "shards"
    )
    index = ShardIndex.load(folder / "shards")
    sample = read_sample(index.folder, index.samples[0])
    frames = decode_frames(sample.video, range(8))
    Image.fromarray(frames[0]).save(folder / "face.png")
    Image.new("RGB", (300, 300), "grey").save(folder / "nobody.png")
    speech = (sample.audio[: RATE // 2] * 32767).astype(np.int16)
    wavfile.write(folder / "voice.wav", RATE, np.tile(speech, 6))
    write_video(folder / "film.mp4", list(frames), 25.0, sample.audio[: 8 * RATE // 25])
    return folder


class Site:
    """The page as somebody starts it."""

    def __init__(self, folder: Path, weights: Path):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.temporary, self.log = folder / "temporary", folder / "log.txt"
        self.temporary.mkdir()
        command = [sys.executable, str(ROOT / "web.py"), f"weights={weights}", f"port={self.port}"]
        with self.log.open("w") as log:
            environment = {**os.environ, "TMPDIR": str(self.temporary)}
            self.process = subprocess.Popen(command, cwd=folder, stderr=log, stdout=log, env=environment)
        self._wait_for("the page is at", 120)

    def _wait_for(self, words: str, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while words not in self.log.read_text():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.1)

    def unfinished(self) -> list[Path]:
        return [file for place in self.temporary.glob("*/unfinished") for file in place.iterdir()]


@pytest.fixture(scope="module")
def site(browser, tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    published, weights = write_published_folder(folder / "published"), folder / "weights"
    with composed("convert", f"published={published}", f"out={weights}", HEADS) as config:
        convert(config)
    started = Site(folder, weights)
    yield started
    if started.process.poll() is None:
        started.process.kill()


@pytest.fixture
def page(site, browser):
    """The page, opened; whatever it asks of another server fails the test."""
    asked = []
    opened = browser.new_page(viewport={"width": 1280, "height": 900})
    opened.set_default_timeout(PATIENCE)
    opened.on("request", lambda request: asked.append(request.url))
    opened.goto(f"http://127.0.0.1:{site.port}/")
    yield opened
    opened.close()
    outside = [
        url for url in asked if not url.startswith((f"http://127.0.0.1:{site.port}/", "data:", "blob:"))
    ]
    assert outside == []


def visitor(browser, site):
    """One more page."""
    opened = browser.new_page()
    opened.set_default_timeout(PATIENCE)
    opened.goto(f"http://127.0.0.1:{site.port}/")
    return opened


def give(page, files: Path, portrait: str = "face.png", voice: str | None = "voice.wav", steps: int = 1):
    page.locator("#portrait input[type=file]").set_input_files(files / portrait)
    page.locator("#portrait img").wait_for()
    if voice is not None:
        page.locator("#voice input[type=file]").set_input_files(files / voice)
        page.locator("#voice #waveform").wait_for()
    page.get_by_text("More settings").click()
    page.get_by_label("number input for Steps").fill(str(steps))


def told(page, words: str) -> None:
    page.locator("#told").get_by_text(words).wait_for()


def test_a_portrait_and_a_voice_become_a_video_that_plays(page, files, tmp_path):
    give(page, files)
    page.get_by_label("Seconds of the beginning").fill("0.4")
    page.get_by_role("button", name="Animate").click()
    told(page, "Done: 12 frames, 0.4 s at 30 per second")
    for name in ("#result", "#landmarks"):
        video = page.locator(f"{name} video")
        video.evaluate("video => video.play()")
        page.wait_for_function(f"document.querySelector('{name} video').currentTime > 0.2")
        assert video.evaluate("video => video.duration") == pytest.approx(0.4, abs=0.05)
        assert video.evaluate("video => video.videoWidth") > 0
    made = tmp_path / "made.mp4"
    made.write_bytes(page.request.get(page.locator("#result video").get_attribute("src")).body())
    with av.open(str(made)) as container:
        assert container.metadata["comment"].startswith("Synthetic")
        assert [stream.type for stream in container.streams] == ["video", "audio"]


def test_a_portrait_follows_a_film(page, files):
    give(page, files, voice=None)
    page.get_by_role("tab", name="Video to follow").click()
    page.locator("#driving input[type=file]").set_input_files(files / "film.mp4")
    page.locator("#driving video").wait_for()
    page.get_by_role("button", name="Animate").click()
    told(page, "Done: ")


def test_what_cannot_be_animated_is_a_sentence_on_the_page(page, files):
    give(page, files, portrait="nobody.png")
    page.get_by_role("button", name="Animate").click()
    message = page.get_by_test_id("toast-text")
    message.wait_for()
    said = message.inner_text()
    assert "nobody.png" in said
    assert "no face" in said
    assert "Traceback" not in said
    assert "/" not in said


def test_stop_ends_the_job_and_the_next_one_begins(page, site, files):
    give(page, files, steps=100)
    page.get_by_role("button", name="Animate").click()
    told(page, "This is what the portrait will do: 90 frames")
    page.get_by_text("Making frames").wait_for()
    page.get_by_role("button", name="Stop").click()
    told(page, "Stopped.")
    page.get_by_label("number input for Steps").fill("1")
    page.get_by_label("Seconds of the beginning").fill("0.2")
    page.get_by_role("button", name="Animate").click()
    told(page, "Done: 6 frames")
    assert site.unfinished() == []


def test_visitors_wait_for_one_another_and_may_give_up(page, site, files, browser):
    give(page, files, steps=100)
    page.get_by_role("button", name="Animate").click()
    told(page, "This is what the portrait will do: 90 frames")
    second, third = visitor(browser, site), visitor(browser, site)
    for waiting in (second, third):
        give(waiting, files)
        waiting.get_by_label("Seconds of the beginning").fill("0.2")
        waiting.get_by_role("button", name="Animate").click()
        waiting.get_by_text("queue:").wait_for()
    second.get_by_role("button", name="Stop").click()
    told(second, "Stopped.")
    page.get_by_role("button", name="Stop").click()
    told(third, "Done: 6 frames")
    assert second.locator("#told").inner_text() == "Stopped."
    second.close()
    third.close()


def test_a_page_that_is_closed_ends_its_job(page, site, files, browser):
    left = visitor(browser, site)
    give(left, files, steps=100)
    left.get_by_role("button", name="Animate").click()
    told(left, "This is what the portrait will do: 90 frames")
    assert len(site.unfinished()) == 1
    left.close()
    give(page, files)
    page.get_by_label("Seconds of the beginning").fill("0.2")
    page.get_by_role("button", name="Animate").click()
    told(page, "Done: 6 frames")


def test_the_browser_asks_nobody_else_even_when_a_part_of_the_page_wants_to(page):
    page.get_by_role("button", name="Animate").wait_for()
    refused = page.evaluate(
        """() => new Promise(told => {
            document.addEventListener("securitypolicyviolation", event => told(event.blockedURI));
            fetch("https://elsewhere.invalid/program.js").then(told, () => setTimeout(told, 5000));
        })"""
    )
    assert refused == "https://elsewhere.invalid/program.js"


def test_a_phone_shows_the_page_in_its_width(page):
    page.set_viewport_size({"width": 390, "height": 844})
    page.get_by_role("button", name="Animate").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_when_it_ends_no_file_is_left(page, site):  # the last of these tests, as it ends the page
    page.close()
    assert len(list(site.temporary.glob("aniportrait-web-*"))) == 1
    site.process.send_signal(signal.SIGTERM)
    assert site.process.wait(30) == 0, site.log.read_text()
    assert list(site.temporary.glob("aniportrait-web-*")) == []
    assert "Traceback" not in site.log.read_text()
