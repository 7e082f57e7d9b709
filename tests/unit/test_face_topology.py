"""The index tables agree with the geometry of the canonical face."""

import numpy as np

from aniportrait.face import topology


def test_flip_is_the_mirror_symmetry_of_the_canonical_face(canonical):
    mirrored = canonical.vertices * (-1, 1, 1)
    np.testing.assert_allclose(mirrored[topology.FLIP], canonical.vertices, atol=1e-6)


def test_a_flip_undoes_itself():
    np.testing.assert_array_equal(topology.FLIP_POINTS[topology.FLIP_POINTS], np.arange(478))


def test_left_is_the_persons_left(canonical):
    assert (canonical.vertices[topology.LEFT_EYE, 0] > 0).all()
    assert (canonical.vertices[topology.RIGHT_EYE, 0] < 0).all()
    assert (canonical.vertices[topology.LEFT_SIDE, 0] > 0).all()
    assert (canonical.vertices[topology.MIDLINE, 0] == 0).all()


def test_upper_face_is_what_lies_above_the_lower_lids(canonical):
    np.testing.assert_array_equal(topology.UPPER_FACE, np.flatnonzero(canonical.vertices[:, 1] >= 1.5))


def test_rings_visit_each_vertex_once_and_follow_edges_of_the_mesh(canonical):
    triangles = canonical.triangles
    edges = {
        tuple(sorted(pair)) for i, j in ((0, 1), (1, 2), (2, 0)) for pair in triangles[:, (i, j)].tolist()
    }
    sizes = {"OVAL": 36, "OUTER_LIPS": 20, "INNER_LIPS": 20, "LEFT_EYE": 16, "RIGHT_EYE": 16}
    for name, size in sizes.items():
        ring = getattr(topology, name)
        assert len(set(ring.tolist())) == len(ring) == size, name
        for pair in zip(ring.tolist(), np.roll(ring, -1).tolist(), strict=True):
            assert tuple(sorted(pair)) in edges, (name, pair)


def test_lip_pairs_face_each_other(canonical):
    upper, lower = canonical.vertices[topology.INNER_LIP_PAIRS].transpose(1, 0, 2)
    assert topology.INNER_LIP_PAIRS.shape == (9, 2)
    assert (upper[:, 1] >= lower[:, 1]).all()
    assert np.abs(upper[:, 0] - lower[:, 0]).max() < 0.15


def test_there_are_114_drawn_edges_in_thirteen_colours():
    assert topology.EDGES.shape == (114, 2)
    assert len(np.unique(topology.EDGE_COLOURS, axis=0)) == 13
    assert topology.FOREHEAD_EDGES.shape == (10, 2)
