"""From a voice to landmarks: right lengths at any rate, mouths at rest first, heads as asked for."""

import math

import numpy as np
import pytest
import torch
from torch import Generator, nn

from aniportrait.data.media import read_video
from aniportrait.data.neutral import neutral_mesh
from aniportrait.data.synthetic_face import FaceRig
from aniportrait.face.canonical import load_canonical_face
from aniportrait.face.head_pose import resampled_head_pose
from aniportrait.face.landmarks import FaceLandmarker
from aniportrait.face.topology import BLENDSHAPES, INNER_LIP_PAIRS, LIPS
from aniportrait.models.audio2mesh import Audio2Mesh, PublishedHead, TemporalHead
from aniportrait.models.audio_encoder import LogMelEncoder
from aniportrait.pipelines.head_motion import (
    NetworkMotion,
    PoseTemplate,
    PredictedMotion,
    StillHead,
    frame_count,
)
from aniportrait.pipelines.resting_face import MOVEMENTS, _movements, resting_mesh
from aniportrait.pipelines.speech_offsets import SpeechOffsets

RATES = (25.0, 29.97, 30.0, 60.0)


class Ramp:
    """An audio2mesh whose every coordinate is the time in seconds, at 25 fps."""

    def encoder(self, audio, frames):
        return (torch.arange(frames) / 25.0).view(1, frames, 1)

    class head:  # noqa: N801
        rests_in_silence, reach = False, 0

        def __new__(cls, features):
            return features[..., None].expand(-1, -1, 468, 3)


class Nod(nn.Module):
    """Head motion that turns by a degree each second, at 25 fps."""

    identity = nn.Embedding(1, 1)

    def sample(self, audio, frames, identity, generator):
        return torch.nn.functional.pad((torch.arange(frames) / 25.0)[None, :, None], (0, 5))


@pytest.mark.parametrize("fps", RATES)
@pytest.mark.parametrize("samples", [1, 1600, 1601, 16_000, 163_217])
def test_meshes_and_poses_keep_time_at_any_frame_rate(fps, samples):
    audio = torch.zeros(1, samples)
    frames = frame_count(samples, fps)
    assert frames == max(1, round(samples / 16_000 * fps))
    offsets = SpeechOffsets(Ramp(), 25.0, audio, fps)(0, frames)
    motion = NetworkMotion(PredictedMotion(Nod(), smoothing=1), 25.0)(audio, frames, fps, Generator())
    last = (frame_count(samples, 25.0) - 1) / 25.0
    expected = np.minimum(np.arange(frames) / fps, last)
    assert offsets.shape == (frames, 468, 3)
    assert np.allclose(offsets[:, 0, 0], expected, atol=1e-5)
    assert np.allclose(motion[:, 0], expected, atol=1e-5)


@pytest.mark.parametrize("fps", RATES)
@pytest.mark.parametrize("head", [TemporalHead(8, 8, layers=3, kernel=5), PublishedHead(8, 4)])
def test_meshes_are_the_same_in_any_portions(head, fps):
    audio2mesh = Audio2Mesh(LogMelEncoder(width=8, layers=1), head).eval()
    for parameter in head.parameters():
        nn.init.normal_(parameter, std=0.3, generator=Generator().manual_seed(0))
    audio = torch.randn(1, 3 * 16_000, generator=Generator().manual_seed(1)) * torch.linspace(0, 1, 48_000)
    offsets, frames = SpeechOffsets(audio2mesh, 25.0, audio, fps), frame_count(48_000, fps)
    whole = offsets(0, frames)
    if fps == 25.0:
        with torch.no_grad():
            assert np.allclose(whole, audio2mesh(audio, frames)[0], atol=1e-5)
    for size in (1, 7, 40):
        portions = [offsets(i, min(i + size, frames)) for i in range(0, frames, size)]
        assert np.allclose(np.concatenate(portions), whole, atol=1e-5)


def test_poses_between_frames_take_the_short_way_round():
    turn = np.zeros((2, 6))
    turn[:, 2], turn[:, 3] = (179.0, -179.0), (0.0, 2.0)
    between = resampled_head_pose(turn, np.array([0.5]))[0]
    assert abs(between[2]) == pytest.approx(180.0)
    assert between[3] == pytest.approx(1.0)


def template(frames=4, fps=25.0):
    poses = np.zeros((frames, 6))
    poses[:, 0] = np.arange(frames)
    return PoseTemplate(poses, fps)


def test_a_template_goes_forwards_and_backwards_without_a_jump():
    played = template()(torch.zeros(1, 1), 9, 25.0, Generator())
    assert played[:, 0] == pytest.approx([0, 1, 2, 3, 2, 1, 0, 1, 2])
    assert template()(torch.zeros(1, 1), 3, 50.0, Generator())[:, 0] == pytest.approx([0, 0.5, 1])
    assert template(frames=1)(torch.zeros(1, 1), 5, 25.0, Generator()).shape == (5, 6)
    assert not StillHead()(torch.zeros(1, 1), 5, 25.0, Generator()).any()


def test_a_ready_motion_is_read_at_its_rate_and_the_originals_at_30_fps(tmp_path):
    np.savez(tmp_path / "nod.npz", head_pose=template().head_pose, fps=24.0)
    again = PoseTemplate.load(tmp_path / "nod.npz")
    assert again.fps == 24.0
    assert np.array_equal(again.head_pose, template().head_pose)
    np.save(tmp_path / "pose_temp.npy", template().head_pose)
    assert PoseTemplate.load(tmp_path / "pose_temp.npy").fps == 30.0


@pytest.mark.parametrize(
    ("stored", "words"),
    [
        (np.zeros((3, 5)), "must be"),
        (np.full((3, 6), np.nan), "finite"),
        (np.array([object()]), "cannot be read"),
        (np.full((3, 6), "up"), "cannot be read"),
    ],
)
def test_a_template_that_cannot_be_one_is_refused(tmp_path, stored, words):
    np.save(tmp_path / "bad.npy", stored, allow_pickle=True)
    with pytest.raises(ValueError, match=words):
        PoseTemplate.load(tmp_path / "bad.npy")


@pytest.mark.parametrize("fps", [0.0, -1.0, math.inf, math.nan, np.array([24.0, 25.0])])
def test_a_template_whose_rate_is_none_is_refused(tmp_path, fps):
    np.savez(tmp_path / "nod.npz", head_pose=np.zeros((3, 6)), fps=fps)
    with pytest.raises(ValueError, match=r"head pose template .*nod\.npz (must hold|cannot be read)"):
        PoseTemplate.load(tmp_path / "nod.npz")


def test_half_a_template_is_refused(tmp_path):
    np.savez(tmp_path / "nod.npz", head_pose=template().head_pose, fps=25.0)
    written = (tmp_path / "nod.npz").read_bytes()
    for size in (0, 3, len(written) // 2, len(written) - 10):
        (tmp_path / "nod.npz").write_bytes(written[:size])
        with pytest.raises(ValueError, match="cannot be read"):
            PoseTemplate.load(tmp_path / "nod.npz")


def test_motion_is_not_predicted_from_a_film_without_sound():
    motion = NetworkMotion(PredictedMotion(Nod()), 25.0)
    with pytest.raises(ValueError, match="predicted from sound, of which there is none"):
        motion(None, 5, 25.0, Generator())
    assert StillHead()(None, 5, 25.0, Generator()).shape == (5, 6)
    assert template()(None, 5, 25.0, Generator()).shape == (5, 6)


@pytest.fixture(scope="module")
def face():
    return load_canonical_face()


def blendshapes(**amounts):
    values = np.zeros(52)
    for name, amount in amounts.items():
        values[[BLENDSHAPES.index(coefficient) for coefficient in MOVEMENTS[name]]] = amount
    return values


def test_a_mouth_that_was_moved_is_moved_back(face):
    rest = FaceRig(face).rest
    amounts = {"jaw": 0.5, "smile": 0.6}
    moved = rest + sum(
        amount * _movements(face)[list(MOVEMENTS).index(name)] for name, amount in amounts.items()
    )
    restored = resting_mesh(moved, blendshapes(**amounts), face)
    assert np.abs(moved - rest).max() > 0.5
    assert np.abs(restored - rest).max() < 0.1


def test_a_face_at_rest_stays_as_it_is(face):
    rest = FaceRig(face).rest
    assert np.abs(resting_mesh(rest, np.zeros(52), face) - rest).max() < 0.02


@pytest.mark.shared
def test_filmed_open_mouths_and_smiles_come_near_their_owners_rest(face, shared):
    with FaceLandmarker(None, "image") as landmarker:
        film = read_video(shared / "data" / "clips" / "retalking_face2.mp4", 25.0)
        track = landmarker.track([frame for number, frame in enumerate(film) if number % 4 == 0], 25.0)
    rest = neutral_mesh(track)
    upper, lower = INNER_LIP_PAIRS.T
    opening = np.linalg.norm(track.vertices[:, upper] - track.vertices[:, lower], axis=-1).mean(axis=1)
    open_frames = np.argsort(opening)[-6:]

    def apart(mesh):
        return np.linalg.norm((mesh - rest)[LIPS], axis=-1).max()

    before = np.mean([apart(track.vertices[i]) for i in open_frames])
    after = np.mean([apart(resting_mesh(track.vertices[i], track.blendshapes[i], face)) for i in open_frames])
    assert after < 0.7 * before
