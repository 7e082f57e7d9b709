"""python web.py: a page on which a portrait speaks, or follows a driving video."""

import logging
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from typing import Any

from omegaconf import DictConfig

from aniportrait.cli.animate import animator
from aniportrait.cli.web_jobs import Jobs
from aniportrait.pipelines.speed import speed_of

try:
    import gradio as gr
    from gradio.components import Component

    from aniportrait.cli.web_fields import inputs, outputs, settings
except ModuleNotFoundError as error:
    raise OSError("the web page needs gradio: pip install -e '.[web]'") from error

log = logging.getLogger(__name__)

RESPONSIBLE_USE = Path(__file__).parents[2] / "RESPONSIBLE_USE.md"
CONSENT = (
    "Animate people who agreed to it, in this picture, with this voice; and tell whoever sees the video that it is "
    "synthetic. Never to deceive, to degrade or to harass."
)
ZERO_IS_UNSAID = ("duration", "steps", "guidance_scale")
"""Fields for numbers, which Gradio does not leave empty."""
BUG = "Something went wrong that is no fault of yours: the server's log has it."
READING_SECONDS = 20
"""How long a message stays."""
PROGRESS = gr.Progress()
"""As a default it asks Gradio for the bar of the running job."""
LOOK = gr.themes.Soft(
    primary_hue="teal",
    neutral_hue="slate",
    font=["system-ui", "sans-serif"],  # named fonts of Gradio's would be asked of a server far away
    font_mono=["ui-monospace", "monospace"],
)
OWN_SERVER_ALONE = (
    '<meta http-equiv="Content-Security-Policy" content="'
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' blob: data:; media-src 'self' blob: data: mediastream:"
    '">'
)
"""What the browser may ask of whom; Gradio's cutting of videos, for one, would bring a program from elsewhere."""
STYLE = """
.gradio-container {max-width: 1180px !important; margin: auto !important}
#voice .wrap {min-height: 9rem}
#driving video {max-height: 14rem}
#driving button[title^="Trim"], #driving button[title^="Reset"] {display: none}
"""


def web(config: DictConfig) -> None:
    """Serve the page until INT or TERM, and leave no file."""
    _check(config)
    made = animator(config)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    with (
        suppress(KeyboardInterrupt),
        TemporaryDirectory(prefix="aniportrait-web-", ignore_cleanup_errors=True) as folder,
    ):
        uploads, unfinished = Path(folder) / "uploads", Path(folder) / "unfinished"
        unfinished.mkdir()
        os.environ["GRADIO_TEMP_DIR"] = str(uploads)
        with closing(Jobs(made, uploads, unfinished, config.longest_seconds)) as jobs:
            page = build_page(jobs, config.speed, config.keep_minutes, config.waiting)
            launch(page, config.host, config.port, config.largest_megabytes)
            log.info("the page is at http://%s:%d/, Ctrl-C ends it", config.host, config.port)
            Event().wait()


def build_page(jobs: Jobs, speed: str = "exact", keep_minutes: float = 60, waiting: int = 8) -> gr.Blocks:
    """The page: what goes in on the left, what comes out on the right.

    Args:
        jobs: what it asks for.
        speed: what it proposes.
        keep_minutes: after which uploads and results are removed.
        waiting: visitors in the queue.
    """
    age = max(1, round(60 * keep_minutes))
    page = gr.Blocks(title="AniPortrait", analytics_enabled=False, delete_cache=(min(60, age), age))
    page.queue(max_size=waiting)
    with page:
        gr.Markdown(
            "# AniPortrait\nA portrait and a voice, or a portrait and a video of a face, become a video."
        )
        with gr.Row():
            with gr.Column(scale=1, min_width=320):
                wishes = inputs()
                gr.Markdown(CONSENT)
                with gr.Row():
                    run = gr.Button("Animate", variant="primary", elem_id="animate", scale=3)
                    stop = gr.Button("Stop", elem_id="stop", scale=1, min_width=100)
                with gr.Accordion("More settings", open=False):
                    wishes |= settings(speed)
            with gr.Column(scale=1, min_width=320):
                seen = outputs()
        with gr.Accordion("Responsible use", open=False):
            gr.Markdown(RESPONSIBLE_USE.read_text(encoding="utf-8").partition("\n")[2])
        _wire(page, jobs, run, stop, wishes, seen)
    return page


def launch(page: gr.Blocks, host: str, port: int, largest_megabytes: int) -> None:
    """Make the page reachable, until it is closed; nothing else is asked of any server, nothing else of this one."""
    logging.getLogger("httpx").setLevel(logging.WARNING)  # with it Gradio asks itself whether it is there
    try:
        page.launch(
            server_name=host,
            server_port=port,
            max_file_size=largest_megabytes * 2**20,
            prevent_thread_lock=True,
            share=False,
            quiet=True,
            footer_links=[],
            run_history=False,
            enable_monitoring=False,
            ssr_mode=False,
            mcp_server=False,
            theme=LOOK,
            css=STYLE,
            head=OWN_SERVER_ALONE,
        )
    except OSError as error:
        raise OSError(
            f"host={host} port={port} cannot be had: is it in use? port=N chooses another"
        ) from error


def _check(config: DictConfig) -> None:
    speed_of(config.speed)
    for name in ("longest_seconds", "largest_megabytes", "waiting", "keep_minutes"):
        if not config[name] > 0:
            raise ValueError(f"{name} ({config[name]:g}) must be more than 0")
    if not 0 < config.port < 2**16:
        raise ValueError(f"port ({config.port}) must be between 1 and 65535")
    if not _is_this_machine(config.host):
        log.warning("host=%s: whoever reaches this machine can use the page", config.host)


def _wire(
    page: gr.Blocks,
    jobs: Jobs,
    run: gr.Button,
    stop: gr.Button,
    wishes: dict[str, Component],
    seen: list[Component],
) -> None:
    """What the buttons do, and leaving the page."""
    job = run.click(
        _runner(jobs, list(wishes)),
        list(wishes.values()),
        seen,
        show_progress_on=seen[0],
        scroll_to_output=True,
        concurrency_limit=1,
        api_visibility="private",
    )
    # Said once the job has ended: until then the page takes no click for another one.
    stop.click(_stopper(jobs), cancels=job, queue=False, api_visibility="private").then(
        _waiter(jobs), None, seen[1], queue=False, api_visibility="private"
    )
    page.unload(_stopper(jobs))


def _runner(jobs: Jobs, names: list[str]) -> Callable[..., Iterator[tuple[Any, ...]]]:
    """What the button does: values of the named fields in, (result, sentence, landmarks) out."""

    def run(request: gr.Request, progress: gr.Progress = PROGRESS, *values: Any) -> Iterator[tuple[Any, ...]]:
        wishes = dict(zip(names, values, strict=True))
        wishes |= {name: wishes[name] or None for name in ZERO_IS_UNSAID}
        if wishes["head_pose"] == "automatic":
            wishes["head_pose"] = None
        try:
            for made in jobs.run(_visitor(request), wishes, partial(_shown, progress)):
                yield made.video and str(made.video), made.told, str(made.landmarks)
        except ValueError as error:
            raise gr.Error(str(error), READING_SECONDS, print_exception=False) from error
        except Exception as error:
            log.exception("a bug, found by a visitor")
            raise gr.Error(BUG, READING_SECONDS, print_exception=False) from error

    return run


def _stopper(jobs: Jobs) -> Callable[[gr.Request], None]:
    """What ends a visitor's job: the button, or a page that was closed."""

    def stop(request: gr.Request) -> None:
        jobs.stop(_visitor(request))

    return stop


def _waiter(jobs: Jobs) -> Callable[[gr.Request], str]:
    """What says that a visitor's job was stopped, once it has ended."""

    def wait(request: gr.Request) -> str:
        jobs.wait(_visitor(request))
        return "Stopped."

    return wait


def _shown(progress: gr.Progress, share: float, said: str) -> None:
    progress(share, desc=said)


def _visitor(request: gr.Request) -> str:
    return str(request.session_hash)


def _is_this_machine(host: str) -> bool:
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
