"""Figures of lips and sound by SyncNet, with weights of our own making."""

import math
import pickle

import numpy as np
import pytest
import torch
from heard_videos import pair, video

from aniportrait.checkpoints.tensor_files import WeightsError
from aniportrait.data.mfcc import int16_scale, mfcc
from aniportrait.evaluation.sync_c import SyncC
from aniportrait.evaluation.sync_d import SyncD
from aniportrait.evaluation.sync_offset import SyncOffset
from aniportrait.evaluation.syncnet_reader import distances_by_shift, syncnet_reader
from aniportrait.evaluation.syncnet_views import LandmarkerCrop, WholeFrame
from aniportrait.evaluation.video_metric import MissingBackendError, NotScoredError
from aniportrait.evaluation.video_pair import ScoredVideo, VideoPair
from aniportrait.face.syncnet_crop import syncnet_crops
from aniportrait.models.syncnet import SyncNet

EPSILON = 1e-6  # that torch adds to every difference before it squares it


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file of random weights under the published names, in the format of torch before 1.6, as the published one.

    Lips and sounds lie about one point far from zero: the fewer windows meet the zeros beyond the ends, the nearer.
    """
    torch.manual_seed(0)
    state = SyncNet().state_dict()
    state["netfcaud.3.bias"] = state["netfclip.3.bias"] = torch.rand(1024)
    published = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    file = tmp_path_factory.mktemp("weights") / "syncnet_v2.model"
    torch.save(published, file, _use_new_zipfile_serialization=False)
    return str(file)


# MFCC


def test_a_louder_sound_moves_the_energy_alone_and_by_the_logarithm_of_its_square():
    audio = np.random.default_rng(0).normal(scale=300, size=1600)
    quiet, loud = mfcc(audio), mfcc(3 * audio)
    assert quiet.shape == (1 + math.ceil((1600 - 400) / 160), 13)
    np.testing.assert_allclose(loud[:, 0] - quiet[:, 0], 2 * math.log(3))
    np.testing.assert_allclose(loud[:, 1:], quiet[:, 1:], atol=1e-9)


def test_the_energy_is_the_sum_of_the_squares_of_the_pre_emphasised_window():
    audio = np.random.default_rng(1).normal(scale=300, size=720)
    sharp = np.append(audio[0], audio[1:] - 0.97 * audio[:-1])
    for step, coefficients in enumerate(mfcc(audio)):
        window = np.pad(sharp[160 * step :][:400], (0, 112))
        power = np.abs(np.fft.fft(window)) ** 2 / 512
        assert coefficients[0] == pytest.approx(math.log(power[:257].sum()))


def test_silence_has_finite_coefficients_and_short_sounds_one_step():
    silence = mfcc(np.zeros(800))
    np.testing.assert_allclose(silence[:, 0], math.log(np.finfo(float).eps))
    np.testing.assert_allclose(silence[:, 1:], 0, atol=1e-9)
    assert mfcc(np.ones(10)).shape == mfcc(np.ones(400)).shape == (1, 13)
    assert mfcc(np.ones(401)).shape == (2, 13)
    assert int16_scale(np.array([-2, -1, 0.5, 1])).tolist() == [-32768, -32768, 16384, 32767]


# What is cut out


def test_the_crop_is_what_the_published_recipe_cuts_out():
    """Against a straight transcription: the picture padded with grey, then sliced."""
    generator = np.random.default_rng(2)
    frames = generator.integers(0, 256, (20, 40, 60, 3)).astype(np.uint8)
    boxes = np.array([30, 6, 46, 30]) + generator.normal(scale=2, size=(20, 4))
    sizes = np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]) / 2
    for k, crop in enumerate(syncnet_crops(frames, boxes, size=1)):
        s, x, y = (
            np.median(np.pad(values, 6)[k : k + 13])
            for values in (sizes, (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2)
        )
        border = int(s * 1.8)
        padded = np.pad(frames[k], ((border, border), (border, border), (0, 0)), constant_values=110)
        square = padded[
            int(y + border - s) : int(y + border + 1.8 * s),
            int(x + border - 1.4 * s) : int(x + border + 1.4 * s),
        ]
        # One pixel of bilinear shrinking lies at the middle: between the two, or upon the one.
        rows, columns = (slice((n - 1) // 2, n // 2 + 1) for n in square.shape[:2])
        expected = square[rows, columns].astype(float).mean(axis=(0, 1))
        np.testing.assert_allclose(crop[0, 0], expected, atol=1.01)


def test_the_crop_reaches_past_the_chin_and_is_grey_outside_of_the_picture():
    frame = np.full((100, 100, 3), 50, np.uint8)
    frame[70:] = 200
    crops = list(syncnet_crops([frame] * 13, np.tile([60, 50, 100, 90], (13, 1)), size=56))
    crop = crops[6]  # x 52 to 108, y 50 to 106: one pixel for each
    assert (crop[:20, :48] == 50).all()
    assert (crop[20:50, :48] == 200).all()
    assert (crop[50:] == 110).all()
    assert (crop[:, 48:] == 110).all()


def test_the_longest_track_is_shown_with_its_sound_and_gaps_of_up_to_a_second_are_bridged():
    valid = np.zeros(200, bool)
    valid[[3, 40]] = True  # a gap of more than 25 frames parts these from
    valid[70:190] = True
    valid[100:124] = False
    clip = video(200, valid=valid)
    shown = LandmarkerCrop().show(clip, clip.audio)
    assert shown.frames == len(list(shown.pictures)) == 120
    np.testing.assert_array_equal(shown.audio, clip.audio[70 * 640 : 190 * 640])


def test_between_seen_faces_the_box_moves_on_a_straight_line():
    clip = video(100, valid=np.arange(100) % 20 == 0)
    clip.track.landmarks[~clip.track.valid] = 0.0
    steady = video(100)
    seen, expected = (list(LandmarkerCrop(80).show(v, v.audio).pictures) for v in (clip, steady))
    assert len(seen) == 81
    assert all(np.array_equal(*pictures) for pictures in zip(seen[6:75], expected[6:75], strict=True))


# SyncNet's figures


def test_the_figures_are_those_of_an_independent_formula_on_the_networks_features(weights):
    clip = pair(20, size=224)
    network = syncnet_reader(weights, WholeFrame()).network
    sound = mfcc(int16_scale(clip.generated.audio))
    frames = clip.generated.frames[:, [2, 1, 0]].float()
    with torch.no_grad():
        lips = torch.cat([network.lip_features(frames[None, k : k + 5])[0] for k in range(15)]).numpy()
        heard = torch.from_numpy(np.stack([sound[4 * k : 4 * k + 20] for k in range(15)])).float()
        sounds = network.sound_features(heard).numpy()
    distances = []
    for shift in range(-15, 16):
        shifted = [sounds[k + shift] if 0 <= k + shift < 15 else np.zeros(1024) for k in range(15)]
        distances.append(np.mean([np.sqrt(((lips[k] - shifted[k]) ** 2).sum()) for k in range(15)]))
    expected = {SyncD: min(distances), SyncC: np.median(distances) - min(distances)}
    expected[SyncOffset] = 15 - int(np.argmin(distances))
    assert expected[SyncC] > 0.01, "random weights tell shifts apart, too"
    for metric_class, figure in expected.items():
        metric = metric_class(weights=weights, view=WholeFrame())
        metric.update(metric.measure(clip))
        assert float(metric.compute()) == pytest.approx(figure, abs=1e-4)


def test_the_offset_is_positive_where_the_sound_comes_early():
    """Features that match where the sound of a window is that of the lips three frames later."""
    features = torch.eye(40, 1024)
    late = distances_by_shift(features[3:], features[:-3])  # what is seen now is heard three frames later
    early = distances_by_shift(features[:-3], features[3:])
    assert int(SyncOffset.statistic(late)) == -3
    assert int(SyncOffset.statistic(early)) == 3
    # 34 of 37 windows meet their sound (every difference is epsilon), 3 meet the zeros beyond the end.
    met, zeros = EPSILON * math.sqrt(1024), 1.0
    assert float(SyncD.statistic(late)) == pytest.approx((34 * met + 3 * zeros) / 37, abs=1e-5)
    # Every other shift by k pairs 37 - |k| windows with another's sound, sqrt(2) away: the median is k = 7 or 8.
    means = sorted(((37 - abs(k)) * math.sqrt(2) + abs(k)) / 37 if k != 3 else 0 for k in range(-15, 16))
    assert float(SyncC.statistic(late)) == pytest.approx(means[15] - (34 * met + 3) / 37, abs=1e-5)


def test_a_video_is_read_once_for_all_figures_and_another_anew(weights):
    metrics = [kind(weights=weights, view=WholeFrame()) for kind in (SyncC, SyncD, SyncOffset)]
    assert len({id(metric.reader) for metric in metrics}) == 1
    calls = []
    hook = metrics[0].reader.network.netfclip.register_forward_hook(lambda *_: calls.append(1))
    first, second = pair(8), pair(7)
    figures = [float(metric.measure(first)["figure"]) for metric in metrics]
    assert len(calls) == 1
    assert float(metrics[1].measure(second)["figure"]) != figures[1]
    assert float(metrics[1].measure(first)["figure"]) == figures[1]
    assert len(calls) == 3
    hook.remove()
    copy = pickle.loads(pickle.dumps(metrics[1]))  # as a worker of our own receives it
    assert float(copy.measure(first)["figure"]) == figures[1]


def test_what_lies_outside_of_the_crop_is_shown_by_one_protocol_alone():
    clip = video(20, size=32, corners=(0.4, 0.2, 0.6, 0.4))
    frames = clip.frames.clone()
    frames[..., :6] = 0
    repainted = ScoredVideo(frames, clip.track, clip.audio, clip.fps)
    for view, same in ((LandmarkerCrop(20), True), (WholeFrame(), False)):
        ours, theirs = (np.stack(list(view.show(film, film.audio).pictures)) for film in (clip, repainted))
        assert ours.shape == (20, 224, 224, 3)
        assert np.array_equal(ours, theirs) is same
    # Between the four nearest pixels; OpenCV's whole numbers may round the other way.
    smooth = torch.nn.functional.interpolate(clip.frames.float(), size=(224, 224), mode="bilinear")
    pictures = list(WholeFrame().show(clip, clip.audio).pictures)
    np.testing.assert_allclose(np.stack(pictures), smooth.permute(0, 2, 3, 1).numpy(), atol=1.5)


@pytest.mark.parametrize(
    ("view", "clip", "reason"),
    [
        (WholeFrame(), {"frames": 8, "sound": False}, "it has no sound"),
        (WholeFrame(), {"frames": 8, "fps": 30.0}, "30 fps, SyncNet knows 25 fps alone"),
        (WholeFrame(), {"frames": 5}, "5 frames with sound, 6 are the least"),
        (LandmarkerCrop(), {"frames": 99}, r"99 frames, 100 \(4 s\) are the least"),
        (LandmarkerCrop(), {"frames": 110, "valid": np.zeros(110, bool)}, "no face is seen in it"),
        (
            LandmarkerCrop(),
            {"frames": 110, "valid": np.arange(110) < 90},
            "its face is seen through 90 frames",
        ),
    ],
)
def test_what_is_not_scored_says_why(weights, view, clip, reason):
    with pytest.raises(NotScoredError, match=reason):
        SyncC(weights=weights, view=view).measure(VideoPair("clip", video(**clip)))


def test_without_weights_it_says_where_they_are_and_what_names_them(tmp_path):
    for absent in (None, str(tmp_path / "absent.model")):
        with pytest.raises(MissingBackendError, match=r"lipsync/data/syncnet_v2\.model.*syncnet=PATH"):
            SyncC(weights=absent, view=WholeFrame())


def test_weights_of_another_network_and_pickled_code_are_refused(tmp_path):
    torch.save({"netcnnaud.0.weight": torch.zeros(64, 1, 3, 3)}, tmp_path / "part.model")
    with pytest.raises(WeightsError, match=r"weights of SyncNet: netcnnaud\.0\.bias is missing"):
        SyncC(weights=str(tmp_path / "part.model"), view=WholeFrame())
    torch.save({"weights": SyncNet}, tmp_path / "code.model")
    with pytest.raises(WeightsError, match="refused"):
        SyncC(weights=str(tmp_path / "code.model"), view=WholeFrame())
