"""The embedded data set: exact where it says exact, faces that a landmarker believes, and the same for everyone."""

import hashlib
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest

from aniportrait.data.clip_codec import decode_frames
from aniportrait.data.schema import SAMPLE_RATE, ClipSample
from aniportrait.data.shards import read_sample
from aniportrait.data.synthetic import DATASET_HASH, SyntheticTalkers
from aniportrait.data.synthetic_expressions import EXPRESSIONS
from aniportrait.data.synthetic_face import FaceRig, aligned_meshes, skin_triangles
from aniportrait.data.synthetic_people import population
from aniportrait.data.synthetic_voice import Voice, speak
from aniportrait.face.canonical import load_canonical_face, metric_mesh
from aniportrait.face.landmarks import FaceLandmarker
from aniportrait.face.task_file import find_task_file
from aniportrait.face.topology import BLENDSHAPES, FLIP, INNER_LIP_PAIRS, LIPS

try:
    find_task_file()
except FileNotFoundError:  # pragma: no cover
    pytest.skip("the landmarker bundle is absent", allow_module_level=True)

LARGEST_ERROR = 0.03
"""Of the face's height."""


@pytest.fixture(scope="module")
def rig() -> FaceRig:
    return FaceRig(load_canonical_face())


@pytest.fixture(scope="module")
def undrawn():
    return list(SyntheticTalkers(identities=5, clips_per_identity=1, seconds=3.0).undrawn())


def movement(**strengths: float) -> np.ndarray:
    row = np.zeros((1, len(EXPRESSIONS)))
    for name, strength in strengths.items():
        row[0, EXPRESSIONS.index(name)] = strength
    return row


def opening(mesh: np.ndarray) -> float:
    return float(np.linalg.norm(mesh[INNER_LIP_PAIRS[:, 0]] - mesh[INNER_LIP_PAIRS[:, 1]], axis=1).max())


def test_default_population_keeps_held_out_people_apart():
    people = population(SyntheticTalkers().identities, SyntheticTalkers().seed)
    splits = [person.split for person in people]
    assert {split: splits.count(split) for split in ("train", "val", "test")} == {
        "train": 16,
        "val": 4,
        "test": 4,
    }
    assert len({person.name for person in people}) == len(people)
    assert len({person.voice for person in people}) == len({person.looks for person in people}) == len(people)


def test_people_differ_in_shape_by_more_than_their_mouths_are_noisy(rig):
    shapes = aligned_meshes(np.stack([rig.neutral(person.traits) for person in population(24, 0)]), rig.face)
    apart = np.linalg.norm(shapes[:, None] - shapes[None], axis=-1).mean(axis=-1)
    assert apart[~np.eye(len(shapes), dtype=bool)].min() > 0.15


def test_resting_face_is_symmetric_and_shut(rig):
    neutral = rig.neutral({"jaw_width": 1.0, "lower_lip": -1.0})
    np.testing.assert_allclose(neutral[FLIP] * (-1, 1, 1), neutral, atol=1e-3)
    assert opening(neutral) < 0.05


def test_jaw_opens_the_mouth_and_pressed_lips_close_it(rig):
    neutral = rig.neutral({})
    assert opening(rig.moved(neutral, movement(jaw=1.0))[0]) > 1.2
    assert opening(rig.moved(neutral, movement(jaw=1.0, press=1.0))[0]) < 0.1


def test_rounding_narrows_and_spreading_widens_the_mouth(rig):
    neutral = rig.neutral({})

    def width(mesh: np.ndarray) -> float:
        return float(mesh[291, 0] - mesh[61, 0])

    rounded = rig.moved(neutral, movement(round=1.0))[0]
    assert (
        width(rounded)
        < 0.75 * width(neutral)
        < width(neutral)
        < width(rig.moved(neutral, movement(spread=1.0))[0])
    )
    assert rounded[LIPS, 2].mean() > neutral[LIPS, 2].mean() + 0.3


def test_blink_shuts_an_eye_of_any_size(rig):
    for size in (-1.5, 1.5):
        neutral = rig.neutral({"eye_size": size})
        shut = rig.moved(neutral, movement(blink_right=1.0))[0]
        assert shut[159, 1] - shut[145, 1] < 0.12 * (neutral[159, 1] - neutral[145, 1])
        np.testing.assert_allclose(shut[[386, 374]], neutral[[386, 374]], atol=0.05)


def test_no_movement_turns_the_skin_inside_out(rig):
    triangles = skin_triangles(rig.face.triangles)
    neutral = rig.neutral({})
    at_rest = facing(neutral, triangles)
    for name in ("jaw", "spread", "round", "raise", "drop", "smile"):
        moved = facing(rig.moved(neutral, movement(**{name: 1.0}))[0], triangles)
        assert np.mean((moved * at_rest).sum(axis=1) < 0) < 0.02, name


def facing(mesh: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    a, b, c = (mesh[triangles[:, k]] for k in range(3))
    return np.cross(b - a, c - a)


def test_landmarks_give_the_stored_meshes_and_poses_back(rig, undrawn):
    for sample in undrawn:
        vertices, pose_matrix = metric_mesh(sample.track.landmarks, 256, 256, rig.face)
        np.testing.assert_allclose(vertices, sample.track.vertices, atol=1e-3)
        np.testing.assert_allclose(pose_matrix, sample.track.pose_matrix, atol=2e-3)


def test_expected_meshes_leave_out_blinks_and_stay_near_the_real_ones(undrawn):
    for sample in undrawn:
        expected, vertices = sample.expected_vertices, sample.track.vertices
        assert expected is not None
        assert (
            np.ptp(expected[:, 159, 1] - expected[:, 145, 1])
            < 0.05
            < np.ptp(vertices[:, 159, 1] - vertices[:, 145, 1])
        )
        error = np.linalg.norm((expected - vertices)[:, LIPS], axis=-1).max(axis=1).mean()
        spoken = vertices - sample.neutral_vertices
        spread = np.linalg.norm((spoken - spoken.mean(axis=0))[:, LIPS], axis=-1).max(axis=1).mean()
        assert 0.0 < error < 0.35 * spread


def test_clip_is_consistent_in_length_and_range(undrawn):
    for sample in undrawn:
        meta, track = sample.meta, sample.track
        assert len(track) == meta.frames == len(sample.expected_vertices)
        assert sample.audio is not None
        assert abs(len(sample.audio) / SAMPLE_RATE - meta.frames / meta.fps) < 1e-6
        assert 0.05 < np.abs(sample.audio).max() <= 1.0
        assert track.blendshapes.shape == (meta.frames, len(BLENDSHAPES))
        assert track.blendshapes[:, BLENDSHAPES.index("jawOpen")].max() > 0.4
        assert track.valid.all()
        assert np.isfinite(track.landmarks).all()


def test_voice_speaks_at_its_pitch():
    voice = Voice(pitch=125.0, tract=1.0, tilt=0.3, breath=0.0, loudness=0.5, speed=1.0, lively=0.0, hiss=0.0)
    audio = speak(voice, 4 * SAMPLE_RATE, np.random.default_rng(0)).audio.astype(np.float64)
    power = np.abs(np.fft.rfft(audio, 2 * len(audio))) ** 2
    correlation = np.fft.irfft(power)[: SAMPLE_RATE // 60]
    lag = SAMPLE_RATE // 250 + int(np.argmax(correlation[SAMPLE_RATE // 250 :]))
    assert SAMPLE_RATE / lag == pytest.approx(125.0, rel=0.03)


def test_shorter_vocal_tract_raises_the_formants():
    voice = Voice(pitch=150.0, tract=0.9, tilt=0.3, breath=0.1, loudness=0.5, speed=1.0, lively=0.2, hiss=0.0)
    low, high = (
        speak(replace(voice, tract=tract), 4 * SAMPLE_RATE, np.random.default_rng(1)) for tract in (0.9, 1.15)
    )
    np.testing.assert_array_equal(low.articulation, high.articulation)
    assert centroid(high.audio) > 1.05 * centroid(low.audio)


def centroid(audio: np.ndarray) -> float:
    """Hz, of what lies below the fricatives."""
    power = np.abs(np.fft.rfft(audio)) ** 2
    frequency = np.fft.rfftfreq(len(audio), 1 / SAMPLE_RATE)
    voiced = frequency < 1500
    return float((power * frequency)[voiced].sum() / power[voiced].sum())


def fingerprint(samples: Iterable[ClipSample]) -> str:
    """A hash of what clips hold but their video: the same on every platform, as it rounds to 0.01 cm, 1/64 of full
    scale and 1/500 of the picture."""
    digest = hashlib.sha256()
    for sample in samples:
        track = sample.track
        audio = np.zeros(0) if sample.audio is None else sample.audio
        expected = sample.neutral_vertices if sample.expected_vertices is None else sample.expected_vertices
        digest.update(f"{sample.meta.key} {sample.meta.identity} {sample.meta.split}".encode())
        for array, steps in (
            (audio, 64),
            (track.vertices, 100),
            (expected, 100),
            (sample.neutral_vertices, 100),
            (track.landmarks[..., :2], 500),
        ):
            digest.update(np.round(np.asarray(array, np.float64) * steps).astype("<i4").tobytes())
    return digest.hexdigest()


def test_exact_arrays_are_the_frozen_ones():
    assert fingerprint(SyntheticTalkers().undrawn(first_clips_only=True, every=4)) == DATASET_HASH


def test_name_follows_the_data_and_not_the_number_of_workers():
    default = SyntheticTalkers()
    assert default.name == replace(default, workers=7).name
    assert len({default.name, replace(default, seed=1).name, replace(default, image_size=128).name}) == 3


def test_fingerprint_sees_a_hundredth_of_a_centimetre(undrawn):
    sample = undrawn[0]
    moved = replace(sample, track=replace(sample.track, vertices=sample.track.vertices + np.float32(0.01)))
    assert fingerprint([sample]) != fingerprint([moved])


def test_any_number_of_workers_writes_the_same_shards(tmp_path):
    small = SyntheticTalkers(identities=3, clips_per_identity=1, seconds=0.5, image_size=64)
    index = replace(small, workers=1).write(tmp_path / "one")
    replace(small, workers=2).write(tmp_path / "two")
    written = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert written == sorted(path.name for path in (tmp_path / "two").iterdir())
    for name in written:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name
    assert [entry.split for entry in index.samples] == ["train", "val", "test"]
    sample = read_sample(index.folder, index.samples[0])
    assert decode_frames(sample.video, [0, sample.meta.frames - 1]).shape == (2, 64, 64, 3)


def measured(identities: list[int], frames: list[int]) -> tuple[int, np.ndarray]:
    """Frames drawn, and the landmarker's mean error of each one found, in face heights."""
    talkers = SyntheticTalkers(seconds=0.6, clips_per_identity=1, workers=1)
    drawn, errors = 0, []
    with FaceLandmarker(mode="image") as landmarker:
        for identity in identities:
            sample = talkers.clip(identity, 0)
            for frame, picture in zip(frames, decode_frames(sample.video, frames), strict=True):
                drawn += 1
                found = landmarker.detect(picture)
                if found.valid[0]:
                    exact = sample.track.landmarks[frame, :468, :2]
                    off = np.linalg.norm(found.landmarks[0, :468, :2] - exact, axis=1).mean()
                    errors.append(off / np.ptp(exact[:, 1]))
    return drawn, np.array(errors)


def test_landmarker_finds_drawn_faces_where_they_are():
    drawn, errors = measured([0, 5, 13, 18, 23], [1, 7, 12])
    assert len(errors) >= 0.95 * drawn
    assert errors.max() < LARGEST_ERROR


@pytest.mark.slow
def test_landmarker_finds_everyone_where_they_are():
    drawn, errors = measured(list(range(24)), list(range(13)))
    assert len(errors) >= 0.95 * drawn
    assert np.mean(errors < LARGEST_ERROR) >= 0.99


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ({"identities": 0}, r"identities \(0\) must be at least 1"),
        ({"image_size": 97}, r"image_size \(97\) must be even"),
        ({"seconds": 0.1}, r"seconds \(0.1\) must be at least 0.5"),
        ({"fps": 0.0}, r"fps \(0.0\) must be positive"),
    ],
)
def test_impossible_settings_are_refused(setting, sentence):
    with pytest.raises(ValueError, match=sentence):
        SyntheticTalkers(**setting)
