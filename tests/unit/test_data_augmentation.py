"""Picture, landmarks and meshes stay together, whatever is cut, mirrored or recoloured."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from drawn_clips import clip
from hypothesis import given, settings
from hypothesis import strategies as st

from aniportrait.data.augmentation import Augmentation, Geometry, square_around
from aniportrait.data.clip_codec import encode_clip
from aniportrait.data.portrait_data import PortraitData
from aniportrait.data.shards import write_shards
from aniportrait.data.speech_data import SpeechData
from aniportrait.data.speech_windows import SpeechWindows
from aniportrait.face import mirror, topology
from aniportrait.face.canonical import metric_mesh
from aniportrait.face.crop import SquareCrop
from aniportrait.face.head_pose import pose_matrices, project


def faces(seed: int, frames: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Meshes and poses: a lopsided face somewhere before the camera."""
    generator = np.random.default_rng(seed)
    vertices = generator.normal(0, 5, (frames, 468, 3))
    place = np.eye(4)
    place[:3, 3] = (1.5, -2.0, -40.0)
    motion = np.concatenate(
        (generator.uniform(-25, 25, (frames, 3)), generator.normal(0, 1, (frames, 3))), axis=1
    )
    return vertices, pose_matrices(motion, place)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000))
def test_a_mirrored_mesh_in_a_mirrored_pose_lies_where_the_mirrored_picture_shows_it(seed):
    vertices, pose_matrix = faces(seed)
    seen = project(vertices, pose_matrix, 512, 512)
    mirrored = project(mirror.mirrored_vertices(vertices), mirror.mirrored_pose_matrix(pose_matrix), 512, 512)
    expected = seen[:, topology.FLIP]
    expected[..., 0] = 1 - expected[..., 0]
    np.testing.assert_allclose(mirrored, expected, atol=1e-9)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000))
def test_a_mirror_in_the_mirror_shows_what_there_is(seed):
    vertices, pose_matrix = faces(seed)
    landmarks = np.random.default_rng(seed).uniform(0, 1, (4, 478, 3)).astype(np.float32)
    for mirrored, shown in (
        (mirror.mirrored_landmarks, landmarks),
        (mirror.mirrored_vertices, vertices),
        (mirror.mirrored_pose_matrix, pose_matrix),
    ):
        np.testing.assert_allclose(mirrored(mirrored(shown)), shown, atol=1e-6)
    rotation = mirror.mirrored_pose_matrix(pose_matrix)[:, :3, :3]
    np.testing.assert_allclose(np.linalg.det(rotation), 1, atol=1e-9)


def test_a_symmetric_face_looks_the_same_in_the_mirror(canonical):
    mirrored = mirror.mirrored_vertices(canonical.vertices)
    np.testing.assert_allclose(mirrored, canonical.vertices, atol=1e-6)


def test_mesh_and_pose_measured_in_a_cut_or_mirrored_picture_project_onto_its_landmarks(canonical):
    vertices = np.tile(canonical.vertices.astype(float), (2, 1, 1))
    place = np.eye(4)
    place[:3, 3] = (2.0, 1.0, -60.0)
    motion = np.array(((10.0, -15, 5, 0, 0, 0), (-5, 20, 0, 1, 0, 2)))
    points = project(vertices, pose_matrices(motion, place), 512, 512)
    landmarks = np.concatenate((points, np.zeros((2, 468, 1))), axis=-1)
    landmarks = np.concatenate((landmarks, landmarks[:, :10]), axis=1).astype(np.float32)
    geometry = Geometry(512, SquareCrop(60, 90, 460, 490), flip=True)
    moved = geometry.of_landmarks(landmarks)
    mesh, pose_matrix = metric_mesh(moved, 400, 400, canonical)
    np.testing.assert_allclose(project(mesh, pose_matrix, 400, 400), moved[:, :468, :2], atol=2e-3)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("square", [None, SquareCrop(13, 40, 77, 104)])
def test_a_spot_of_the_picture_stays_under_its_landmark(flip, square):
    landmarks = np.full((1, 478, 3), 0.5, np.float32)
    pictures = np.zeros((1, 128, 128, 3), np.uint8)
    x, y = 61, 83
    pictures[0, y, x] = 255
    landmarks[0, topology.FLIP_POINTS[4] if flip else 4, :2] = (x + 0.5) / 128, (y + 0.5) / 128
    geometry = Geometry(128, square, flip)
    side = square.side if square else 128
    changed = geometry.of_pictures(pictures.copy(), side)
    row, column = np.unravel_index(changed[0, ..., 0].argmax(), (side, side))
    np.testing.assert_allclose(
        geometry.of_landmarks(landmarks)[0, 4, :2] * side, (column + 0.5, row + 0.5), atol=1e-3
    )


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000), share=st.floats(0.05, 1))
def test_the_face_stays_in_the_square(seed, share):
    generator = np.random.default_rng(seed)
    centre, reach = generator.uniform(0.2, 0.8, 2), generator.uniform(0.05, 0.4)
    landmarks = centre + generator.uniform(-reach, reach, (3, 478, 2))
    square = square_around(landmarks, 200, share, generator)
    assert 0 <= square.x0 < square.x1 <= 200
    assert 0 <= square.y0 < square.y1 <= 200
    assert square.side >= round(share * 200)
    inside = square.to_crop(np.clip(landmarks, 0, 1), 200, 200)
    assert inside.min() >= -1e-5
    assert inside.max() <= 1 + 1e-5


def test_settings_that_cannot_be_are_refused():
    for options, said in (({"flip_chance": 1.5}, "flip_chance"), ({"smallest_crop": 0.0}, "smallest_crop")):
        with pytest.raises(ValueError, match=said):
            Augmentation(**options)
    with pytest.raises(ValueError, match=r"flip_chance \(2\)"):
        SpeechData("x", flip_chance=2)


def training_batch(folder, **options):
    data = PortraitData(folder, batch_size=1, image_size=32, frames=2, **options)
    return data.on_after_batch_transfer(next(iter(data.train_dataloader())), 0)


def test_a_training_item_is_changed_as_a_whole(tmp_path):
    write_shards([clip("a", 12)], tmp_path, 25.0, 32)
    batch = partial(training_batch, tmp_path)
    plain, flipped = batch(), batch(flip_chance=1.0)
    assert not np.array_equal(flipped.pose_image, plain.pose_image)
    np.testing.assert_allclose(flipped.face_box[..., 0], 1 - plain.face_box[..., 2], atol=1e-6)
    np.testing.assert_allclose(flipped.face_box[..., 1], plain.face_box[..., 1], atol=1e-6)
    np.testing.assert_allclose(flipped.mouth_box[..., 0], 1 - plain.mouth_box[..., 2], atol=1e-6)
    for kept in (False, True):
        changed = batch(smallest_crop=0.3, flip_chance=0.5, colour_change=1.0, keep_decoded=kept)
        assert changed.frames.shape == (1, 2, 3, 32, 32)
        assert changed.face_box[..., 2:].sub(changed.face_box[..., :2]).min() > 0.5, "nearer to the face"
        same = batch(smallest_crop=0.3, flip_chance=0.5, colour_change=1.0, keep_decoded=kept)
        assert np.array_equal(changed.frames, same.frames)


@pytest.mark.parametrize("kept", [False, True])
def test_changed_colours_are_those_of_frames_and_portrait_and_move_no_landmark(tmp_path, kept):
    """All frames of the clip show the same picture."""
    picture = np.random.default_rng(0).integers(60, 200, (4, 4, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    still = replace(clip("a", 12), video=encode_clip(np.stack([picture] * 12), 25.0))
    write_shards([still], tmp_path, 25.0, 32)
    plain, changed = (
        training_batch(tmp_path, keep_decoded=kept, colour_change=strength) for strength in (0.0, 1.0)
    )
    shown = np.stack([*changed.frames[0], changed.reference_image[0]])
    assert np.abs(shown - shown[:1]).max() < 0.05, "the portrait has the colours of the frames"
    assert np.abs(shown[0] - np.asarray(plain.frames[0, 0])).mean() > 0.1
    for name in ("pose_image", "reference_pose_image", "face_box"):
        assert np.array_equal(getattr(changed, name), getattr(plain, name)), name


@pytest.mark.parametrize("chance", [0.0, 0.3, 1.0])
def test_items_and_windows_are_mirrored_as_often_as_asked(tmp_path, chance):
    """Of 400 draws 0.3 give 0.3 within three standard deviations of 0.023."""
    landmarks = np.full((1, 478, 3), 0.5, np.float32)
    augmentation, generator = Augmentation(flip_chance=chance), np.random.default_rng(0)
    items = [augmentation.geometry(landmarks, 32, generator).flip for _ in range(400)]
    index = write_shards([clip("a", 12)], tmp_path, 25.0, 32)
    windows = SpeechWindows(25.0, 8, (), 0, flip_chance=chance)
    # In the mirror x of the vertices, which is positive, is negative.
    speech = [
        bool(windows.random(index.samples[0], generator).vertices[..., 0].max() <= 0) for _ in range(400)
    ]
    for mirrored in (items, speech):
        assert np.mean(mirrored) == pytest.approx(chance, abs=0.07 if 0 < chance < 1 else 0)


def test_speech_in_the_mirror_turns_the_head_the_other_way(tmp_path):
    index = write_shards([clip("a", 12)], tmp_path, 25.0, 32)
    entry, generator = index.samples[0], np.random.default_rng
    plain = SpeechWindows(25.0, 8, (), 0).random(entry, generator(1))
    mirrored = SpeechWindows(25.0, 8, (), 0, flip_chance=1.0).random(entry, generator(1))
    np.testing.assert_array_equal(mirrored.audio, plain.audio)
    np.testing.assert_allclose(mirrored.head_pose, plain.head_pose * (1, -1, -1, -1, 1, 1), atol=1e-6)
    np.testing.assert_allclose(mirrored.vertices, plain.vertices[:, topology.FLIP] * (-1, 1, 1))
    np.testing.assert_allclose(mirrored.neutral_vertices, plain.neutral_vertices[topology.FLIP] * (-1, 1, 1))
