"""Predicted mouths beside the true ones: outlines at some moments, and the opening over time."""

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from aniportrait.evaluation.mouth_opening_correlation import mouth_opening
from aniportrait.evaluation.report_sections import Curves, Images
from aniportrait.face.topology import INNER_LIPS, OUTER_LIPS

MM_PER_CM = 10.0
TRUE_COLOUR, PREDICTED_COLOUR = "#f2f2f2", "#ff9a3c"
MARGIN_CM = 0.6


def draw_meshes(
    title: str, predicted: np.ndarray, truth: np.ndarray, fps: float, moments: int = 6
) -> tuple[Images, Curves]:
    """Two sections of a report about one clip.

    Args:
        predicted, truth: (f, 468, 3) metric meshes, head motion removed, cm.
        fps: frames per second.
        moments: how many mouths to draw, spread over the clip's true openings from shut to wide open.
    """
    if predicted.shape != truth.shape:
        raise ValueError(f"predicted {predicted.shape} must have the truth's shape {truth.shape}")
    ours, true = (MM_PER_CM * mouth_opening(torch.as_tensor(mesh)).numpy() for mesh in (predicted, truth))
    seconds = np.arange(len(truth)) / fps
    order = np.argsort(true, kind="stable")
    frames = np.sort(order[np.linspace(0, len(order) - 1, min(moments, len(order))).round().astype(int)])
    pictures = [draw_mouth(predicted[frame], truth[frame], truth) for frame in frames]
    images = Images(
        f"{title}: mouth shapes",
        [pictures],
        column_captions=[f"{seconds[frame]:.2f} s" for frame in frames],
        note="White: the truth. Orange: predicted. From the clip's most closed to its most open mouth.",
    )
    lines = {"truth": (seconds.tolist(), true.tolist()), "predicted": (seconds.tolist(), ours.tolist())}
    return images, Curves(f"{title}: mouth opening", lines, x_label="seconds", y_label="mm")


def draw_mouth(predicted: np.ndarray, truth: np.ndarray, clip: np.ndarray, size: int = 200) -> np.ndarray:
    """Lip outlines of one frame, seen from the front.

    Args:
        predicted, truth: (468, 3) cm.
        clip: (f, 468, 3) cm: gives the picture's borders, so that a clip's pictures share a scale.

    Returns: (size, size, 3) uint8 RGB.
    """
    lips = clip[:, OUTER_LIPS, :2].reshape(-1, 2)
    centre = (lips.min(axis=0) + lips.max(axis=0)) / 2
    reach = np.ptp(lips, axis=0).max() / 2 + MARGIN_CM
    figure = Figure(figsize=(2, 2), dpi=size / 2, facecolor="black")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(centre[0] - reach, centre[0] + reach)
    axes.set_ylim(centre[1] - reach, centre[1] + reach)
    for mesh, colour in ((truth, TRUE_COLOUR), (predicted, PREDICTED_COLOUR)):
        for ring in (OUTER_LIPS, INNER_LIPS):
            outline = mesh[np.append(ring, ring[0]), :2]
            axes.plot(outline[:, 0], outline[:, 1], color=colour, linewidth=1.6)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
