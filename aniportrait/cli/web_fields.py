"""What the web page shows: fields that a visitor fills, and players for what comes out."""

from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component
from gradio_client.utils import is_http_url_like

from aniportrait.pipelines.speed import SPEEDS

HEAD_MOTIONS = [
    ("as the voice or the video has it", "automatic"),
    ("predicted from the voice", "predicted"),
    ("still", "still"),
]


def inputs() -> dict[str, Component]:
    """What a visitor gives, by the Request's names."""
    portrait = gr.Image(
        label="Portrait",
        type="filepath",
        image_mode=None,
        sources=["upload", "webcam", "clipboard"],
        buttons=["fullscreen"],
        height=230,
        elem_id="portrait",
    )
    # As it was uploaded: Gradio opens pictures itself, and has other words for what is wrong with one.
    portrait.preprocess = lambda payload: None if payload is None else payload.path
    with gr.Tab("Voice"):
        audio = gr.Audio(
            label="Voice",
            show_label=False,
            type="filepath",
            sources=["upload", "microphone"],
            buttons=["download"],  # without one Gradio offers to share
            elem_id="voice",
        )
    with gr.Tab("Video to follow"):
        driving = gr.Video(
            label="Video to follow",
            show_label=False,
            sources=["upload", "webcam"],
            elem_id="driving",
        )
        gr.Markdown("Its face moves the portrait's. With a voice too, the mouth is the voice's.")
    for field in (portrait, audio, driving):
        _take_files_alone(field)
    return {
        "portrait": portrait,
        "audio": audio,
        "driving": driving,
        "label": gr.Checkbox(True, label="Write AI-generated on every frame"),
        "paste_back": gr.Checkbox(False, label="The whole picture, not the square around the face"),
    }


def _take_files_alone(field: Component) -> None:
    """A made-up message may name an address instead of an upload, which Gradio would fetch, of any size."""
    move = field.async_move_resource_to_block_cache

    async def moved(url_or_file_path: str | Path | None) -> str | None:
        if url_or_file_path is not None and is_http_url_like(str(url_or_file_path)):
            raise gr.Error("This is no file that was uploaded here.", print_exception=False)
        return await move(url_or_file_path)

    field.async_move_resource_to_block_cache = moved


def settings(speed: str) -> dict[str, Component]:
    """What a visitor can leave alone, by the Request's names."""
    with gr.Row():
        duration = gr.Number(0, label="Seconds of the beginning", info="0: all of it", step=0.1)
        face = gr.Number(1, label="Which face", info="1: the largest", precision=0)
    head_pose = gr.Dropdown(HEAD_MOTIONS, value="automatic", label="Head")
    expression = gr.Slider(0, 3, 1, step=0.1, label="Strength of the expression")
    with gr.Row():
        eyes = gr.Slider(0, 3, 1, step=0.1, label="Eyes")
        mouth = gr.Slider(0, 3, 1, step=0.1, label="Mouth")
    chosen = gr.Radio(list(SPEEDS), value=speed, label="Speed")
    with gr.Row():
        steps = gr.Slider(0, 100, 0, step=1, label="Steps", info="0: the model's own")
        guidance_scale = gr.Slider(0, 10, 0, step=0.1, label="Guidance", info="0: the model's own")
    seed = gr.Number(42, label="Seed", minimum=0, maximum=2**32 - 1, precision=0)
    return {
        "duration": duration,
        "face": face,
        "head_pose": head_pose,
        "expression": expression,
        "eyes": eyes,
        "mouth": mouth,
        "speed": chosen,
        "steps": steps,
        "guidance_scale": guidance_scale,
        "seed": seed,
    }


def outputs() -> list[Component]:
    """The result, a sentence on it, and the landmarks."""
    look: dict[str, Any] = {"interactive": False, "buttons": ["download"]}
    return [
        gr.Video(label="Result", elem_id="result", height=380, autoplay=True, **look),
        gr.Markdown(elem_id="told"),
        gr.Video(label="What it will do", elem_id="landmarks", height=230, **look),
    ]
