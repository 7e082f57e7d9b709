"""Expressions stronger and weaker, by region."""

import numpy as np
import pytest

from aniportrait.data.synthetic_expressions import EXPRESSIONS
from aniportrait.data.synthetic_face import FaceRig
from aniportrait.face.topology import (
    INNER_LIP_PAIRS,
    LEFT_BROW,
    LEFT_EYE,
    LEFT_LID_PAIRS,
    LIPS,
    OVAL,
    RIGHT_BROW,
    RIGHT_EYE,
    RIGHT_LID_PAIRS,
)
from aniportrait.pipelines.expression import ExpressionStrength, expression_regions, speaking_offsets

CHIN = 152


@pytest.fixture(scope="module")
def rig(canonical):
    return FaceRig(canonical)


def moved(rig, **amounts):
    """Offsets (1, 468, 3) of a face that makes these movements."""
    movement = np.zeros((1, len(EXPRESSIONS)))
    for name, amount in amounts.items():
        movement[0, EXPRESSIONS.index(name)] = amount
    return (rig.moved(rig.rest, movement) - rig.rest).astype(np.float32)


def gap(mesh, pairs):
    return (mesh[pairs[:, 0], 1] - mesh[pairs[:, 1], 1]).mean()


def test_regions_are_shares_and_mirror_images(canonical):
    regions = expression_regions(canonical)
    rest = 1.0 - regions.eyes - regions.mouth
    assert (rest >= 0).all()
    assert regions.eyes.min() == regions.mouth.min() == 0.0
    assert (regions.right_eye[RIGHT_EYE] == 1).all()
    assert (regions.left_eye[LEFT_EYE] == 1).all()
    assert (regions.mouth[[*LIPS, CHIN]] == 1).all()
    assert rest[[10, 151, 9, 8, 168, 6, 21, 251]].min() > 0.99
    assert regions.eyes[[*RIGHT_BROW, *LEFT_BROW]].max() < 0.25


def test_no_vertex_differs_from_its_neighbour_by_more_than_their_distance_in_cm(canonical):
    regions = expression_regions(canonical)
    edges = canonical.triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)
    length = np.linalg.norm(canonical.vertices[edges[:, 0]] - canonical.vertices[edges[:, 1]], axis=1)
    for weight in (regions.right_eye, regions.left_eye, regions.mouth):
        assert (np.abs(weight[edges[:, 0]] - weight[edges[:, 1]]) / length).max() < 0.9


def test_strengths_of_one_change_nothing_bit_for_bit(rig, canonical):
    offsets = moved(rig, jaw=0.6, blink_right=0.9, brow_inner=0.7)
    rest = rig.rest.astype(np.float32)
    assert np.array_equal(ExpressionStrength().face(rest, offsets, canonical), rest + offsets)


def test_strengths_of_nought_leave_the_face_at_rest(rig, canonical):
    offsets = moved(rig, jaw=0.6, blink_right=0.9)
    face = ExpressionStrength(whole=0.0).face(rig.rest, offsets, canonical)
    assert np.array_equal(face[0], rig.rest)


def test_without_its_mouth_a_face_blinks_with_its_lips_at_rest(rig, canonical):
    offsets = moved(rig, jaw=0.8, smile=0.5, blink_right=1.0, blink_left=1.0)
    face = ExpressionStrength(mouth=0.0).face(rig.rest, offsets, canonical)[0]
    assert np.abs(face - rig.rest)[[*LIPS, CHIN]].max() < 1e-6
    assert gap(face, RIGHT_LID_PAIRS) < 0.1 * gap(rig.rest, RIGHT_LID_PAIRS)


def test_without_its_eyes_a_face_speaks_and_raises_its_brows_with_open_eyes(rig, canonical):
    offsets = moved(rig, jaw=0.8, brow_inner=1.0, blink_left=1.0)
    face = ExpressionStrength(eyes=0.0).face(rig.rest, offsets, canonical)[0]
    assert np.abs(face - rig.rest)[[*RIGHT_EYE, *LEFT_EYE]].max() < 1e-6
    assert face[[*RIGHT_BROW], 1].mean() > rig.rest[[*RIGHT_BROW], 1].mean() + 0.2
    assert gap(face, INNER_LIP_PAIRS) == pytest.approx(gap(rig.rest + offsets[0], INNER_LIP_PAIRS), abs=1e-5)


def test_strength_of_the_mouth_multiplies_how_far_it_opens(rig, canonical):
    offsets = moved(rig, jaw=0.3)
    face = ExpressionStrength(whole=1.5, mouth=2.0).face(rig.rest, offsets, canonical)[0]
    opened = gap(rig.rest + offsets[0], INNER_LIP_PAIRS) - gap(rig.rest, INNER_LIP_PAIRS)
    assert gap(face, INNER_LIP_PAIRS) - gap(rig.rest, INNER_LIP_PAIRS) == pytest.approx(3 * opened, rel=1e-4)


@pytest.mark.parametrize("strength", [ExpressionStrength(eyes=3.0), ExpressionStrength(whole=3.0)])
def test_eyes_that_shut_more_than_fully_are_shut(rig, canonical, strength):
    offsets = moved(rig, blink_right=1.0, blink_left=0.5)
    face = strength.face(rig.rest, offsets, canonical)[0]
    for lids in (RIGHT_LID_PAIRS, LEFT_LID_PAIRS):
        assert face[lids[:, 0], 1] == pytest.approx(face[lids[:, 1], 1], abs=1e-5)


@pytest.mark.parametrize("value", [-0.1, 3.1, float("nan"), float("inf")])
@pytest.mark.parametrize("part", ["whole", "eyes", "mouth"])
def test_strengths_that_are_none_are_refused(part, value):
    with pytest.raises(ValueError, match=rf"expression strength of {part} \(.*\) must be from 0 to 3"):
        ExpressionStrength(**{part: value})


def test_a_mouth_speaks_while_the_rest_follows_a_film(rig, canonical):
    speech = moved(rig, jaw=0.8)
    film = moved(rig, jaw=0.2, smile=0.8, blink_right=1.0, brow_inner=0.6)
    mixed = speaking_offsets(speech, film, canonical)
    assert mixed[0, [*LIPS, CHIN]] == pytest.approx(speech[0, [*LIPS, CHIN]])
    assert mixed[0, [*RIGHT_EYE, *RIGHT_BROW]] == pytest.approx(film[0, [*RIGHT_EYE, *RIGHT_BROW]], abs=0.02)
    assert speaking_offsets(film, film, canonical) == pytest.approx(film, abs=1e-6)
    assert np.abs(mixed[0, OVAL]).max() <= np.maximum(np.abs(speech), np.abs(film))[0, OVAL].max()
