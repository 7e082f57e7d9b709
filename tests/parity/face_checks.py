"""Projection, drawing, smoothing, metric mesh and MediaPipe itself against the original's."""

import re
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from comparison import EXACT, Check, Skipped, difference, distance, share_that_differs
from golden import Golden

from aniportrait.face import head_pose, topology
from aniportrait.face.canonical import CanonicalFace, load_canonical_face, metric_mesh
from aniportrait.face.draw import draw_pose_image

PIXELS = 1e-4
"""The original projects in float64, by a matrix it keeps in float32."""
SHARES = 1e-6
"""Of the picture's side, for the same."""
DEGREES_AND_CM = 1e-6
SMOOTHED = 1e-9
METRIC = {"metric mesh, cm": 1e-4, "rotation": 1e-5, "translation": 5e-6, "reprojected, pixels": 1e-3}
"""MediaPipe computes them in float32. A translation is compared relative to itself: it grows with the distance."""
FOUND_IN_A_SQUARE = {
    "landmarks": 1e-3,
    "mesh, cm": 0.05,
    "rotation": 1e-3,
    "translation, cm": 0.05,
    "blendshapes": 1e-2,
}
FOUND_ELSEWHERE = {
    "landmarks": 5e-3,
    "mesh, cm": 0.1,
    "rotation": 5e-3,
    "translation, cm": 0.2,
    "blendshapes": 1e-2,
}
"""Version 1.2.2 finds points 4e-3 from where 0.10.11 did in pictures that are not square, 1e-4 in square ones."""
TASK_FILE = "models/face_landmarker_v2_with_blendshapes.task"


def check_projection(golden: Golden) -> Iterator[Check]:
    """Points and pictures of a moved mesh at every recorded size."""
    yield from _check_edges(golden)
    mesh, moves, reference = (golden.input(name).numpy() for name in ("mesh", "pose", "trans_mat"))
    matrices = head_pose.pose_matrices(moves, reference)
    for size in golden.outputs("points."):
        height, width = _size(size)
        points = head_pose.project(mesh, matrices, width, height)
        theirs = golden.output(f"points.{size}")
        yield Check(f"points {size}, pixels", _apart(points * (width, height), theirs), PIXELS)
        if size in golden.outputs("image."):
            images = np.stack([draw_pose_image(frame, width, height) for frame in points])
            yield Check(f"images {size}", _apart(images, golden.output(f"image.{size}")), EXACT)
    for size in golden.outputs("points_with_trans."):
        height, width = _size(size)
        points = head_pose.project(mesh, matrices, width, height) * (width, height)
        theirs = golden.output(f"points_with_trans.{size}")
        yield Check(f"points {size}, a matrix per frame, pixels", _apart(points, theirs), PIXELS)
    for size in golden.outputs("image_forehead."):
        height, width = _size(size)
        points = head_pose.project(mesh[:1], matrices[:1], width, height)[0]
        image = draw_pose_image(points, width, height, forehead=True)
        yield Check(
            f"image {size}, closed forehead", _apart(image, golden.output(f"image_forehead.{size}")), EXACT
        )
    if golden.has_input("offscreen_normed"):
        theirs = golden.output("image_offscreen_normed")
        height, width = theirs.shape[:2]
        image = draw_pose_image(golden.input("offscreen_normed").numpy(), width, height)
        yield Check(f"image {height}x{width}, points off screen", _apart(image, theirs), EXACT)
    for name in golden.outputs("smooth"):
        theirs = golden.output(f"smooth{name}")
        sequence = np.tile(moves, (len(theirs) // len(moves), 1))
        # The original reaches window // 2 frames to each side, so its even windows are the next odd ones.
        smoothed = head_pose.smooth_head_pose_published(sequence, int(name) // 2 * 2 + 1)
        yield Check(f"smoothing over {name}, degrees and cm", _apart(smoothed, theirs), SMOOTHED)
    if "euler_roundtrip" in golden.outputs():
        moved = _apart(head_pose.euler_and_translation(matrices), golden.output("euler_roundtrip"))
        yield Check("Euler angles of matrices, degrees and cm", moved, DEGREES_AND_CM)
    if "perspective" in golden.outputs():
        seen = _perspective_apart(mesh, matrices, golden.output("perspective"))
        yield Check("perspective, shares of the picture", seen, SHARES)


def check_landmarks(golden: Golden) -> Iterator[Check | Skipped]:
    """What follows from the fixture's own landmarks, and what MediaPipe at hand says of the portraits."""
    task_file = golden.beside(TASK_FILE)
    face = load_canonical_face(task_file)
    if "faces" in golden.outputs():
        triangles = golden.output("faces").numpy() - 1
        yield Check("triangles", share_that_differs(face.triangles.tolist(), triangles.tolist()), EXACT)
    for portrait in (name.removesuffix(".lmks") for name in golden.outputs() if name.endswith(".lmks")):
        yield from _check_metric_mesh(golden, portrait, face)
        yield from _check_detection(golden, portrait, task_file)


def _check_edges(golden: Golden) -> Iterator[Check]:
    """The original draws a set of edges in no fixed order within a colour; across colours the order counts."""
    if "edges_in_draw_order" in golden.config:
        theirs = [(start, end, *colour) for start, end, colour, _ in golden.config["edges_in_draw_order"]]
        ours = [
            (*edge, *colour)
            for edge, colour in zip(topology.EDGES.tolist(), topology.EDGE_COLOURS.tolist(), strict=True)
        ]
        yield Check("edges", share_that_differs(sorted(ours), sorted(theirs)), EXACT)
        order = [list(dict.fromkeys(edge[2:] for edge in edges)) for edges in (ours, theirs)]
        yield Check("order of colours", share_that_differs(*order), EXACT)
    if "edges_forehead" in golden.config:
        closed = np.concatenate((topology.EDGES, topology.FOREHEAD_EDGES)).tolist()
        theirs = [[start, end] for start, end, _, _ in golden.config["edges_forehead"]]
        yield Check("edges, closed forehead", share_that_differs(sorted(closed), sorted(theirs)), EXACT)


def _check_metric_mesh(golden: Golden, portrait: str, face: CanonicalFace) -> Iterator[Check]:
    landmarks, theirs = golden.output(f"{portrait}.lmks").numpy(), golden.output(f"{portrait}.pose_image")
    height, width = theirs.shape[:2]
    image = draw_pose_image(landmarks, width, height)
    yield Check(f"{portrait}, pose image", _apart(image, theirs), EXACT)
    vertices, matrix = metric_mesh(landmarks[None], width, height, face)
    rotation, translation = golden.output(f"{portrait}.trans_mat")[:3].split((3, 1), dim=1)
    points = head_pose.project(vertices, matrix, width, height)[0] * (width, height)
    differences = {
        "metric mesh, cm": _apart(vertices[0], golden.output(f"{portrait}.lmks3d")),
        "rotation": _apart(matrix[0, :3, :3], rotation),
        "translation": difference(torch.from_numpy(matrix[0, :3, 3:]), translation),
        "reprojected, pixels": _apart(points, golden.output(f"{portrait}.reprojected")),
    }
    for what, bound in METRIC.items():
        yield Check(f"{portrait}, {what}", differences[what], bound)


def _check_detection(golden: Golden, portrait: str, task_file: Path | None) -> Iterator[Check | Skipped]:
    case = f"{portrait}, found anew"
    names = (
        f"data/portraits/{prefix}{portrait.lower()}{end}"
        for prefix in ("aniportrait_", "")
        for end in (".png", ".jpg")
    )
    file = next((file for file in map(golden.beside, names) if file is not None), None)
    if file is None:
        yield Skipped(case, f"data/portraits/aniportrait_{portrait.lower()}.png is absent (set SHARED)")
        return
    try:
        from aniportrait.face.landmarks import FaceLandmarker
    except (ImportError, OSError) as error:
        yield Skipped(case, f"MediaPipe cannot be loaded: {error}")
        return
    height, width = golden.output(f"{portrait}.pose_image").shape[:2]
    picture = cv2.cvtColor(cv2.resize(cv2.imread(str(file)), (width, height)), cv2.COLOR_BGR2RGB)
    with FaceLandmarker(task_file) as landmarker:
        track = landmarker.detect(picture)
    yield Check(f"{case}, valid", share_that_differs(track.valid.tolist(), [True]), EXACT)
    rotation, translation = golden.output(f"{portrait}.trans_mat")[:3].split((3, 1), dim=1)
    differences = {
        "landmarks": _apart(track.landmarks[0], golden.output(f"{portrait}.lmks")),
        "mesh, cm": _apart(track.vertices[0], golden.output(f"{portrait}.lmks3d")),
        "rotation": _apart(track.pose_matrix[0, :3, :3], rotation),
        "translation, cm": _apart(track.pose_matrix[0, :3, 3:], translation),
        "blendshapes": _apart(track.blendshapes[0, 1:], golden.output(f"{portrait}.bs")),
    }
    for what, bound in (FOUND_IN_A_SQUARE if height == width else FOUND_ELSEWHERE).items():
        yield Check(f"{case}, {what}", differences[what], bound)


def _perspective_apart(mesh: np.ndarray, matrices: np.ndarray, perspective: torch.Tensor) -> float:
    """Points in [0, 1] through the original's own matrix (column by column; it flips y) against ours."""
    columns = perspective.double().numpy().reshape(4, 4)
    camera = head_pose.project(mesh, matrices, 1, 1)
    whole = np.concatenate((mesh, np.ones((*mesh.shape[:2], 1))), axis=-1)
    clip = whole @ matrices.transpose(0, 2, 1) @ columns.T
    aspect = columns[1, 1] / -columns[0, 0]
    points = (clip[..., :2] / clip[..., 3:] * (aspect, 1.0) + 1) / 2
    return _apart(camera, torch.from_numpy(points))


def _size(name: str) -> tuple[int, int]:
    """ "256x384" -> height 256, width 384."""
    match = re.fullmatch(r"(\d+)x(\d+)", name)
    if match is None:
        raise ValueError(f'size "{name}" must be <height>x<width>')
    return int(match[1]), int(match[2])


def _apart(ours: np.ndarray, theirs: torch.Tensor) -> float:
    return distance(torch.from_numpy(np.asarray(ours)), theirs)
