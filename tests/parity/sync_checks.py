"""SyncNet and the sound that it hears, against the original's."""

from collections.abc import Iterator

import torch
from comparison import EXACT, Check, difference, share_that_differs
from golden import Golden
from published import syncnet

from aniportrait.data.mfcc import mfcc
from aniportrait.evaluation.sync_c import SyncC
from aniportrait.evaluation.sync_d import SyncD
from aniportrait.evaluation.sync_offset import SyncOffset
from aniportrait.evaluation.syncnet_reader import SyncNetReader, distances_by_shift
from aniportrait.evaluation.syncnet_views import Shown, WholeFrame

SAMPLE = 1e-9
"""Of the largest coefficient: the same arithmetic in float64."""


def check_syncnet(golden: Golden) -> Iterator[Check]:
    """MFCC, both towers, the distances and the figures taken from them; each of ours follows from ours before it."""
    bgr, audio = golden.input("frames_bgr").numpy(), golden.input("audio_int16").numpy()
    yield Check("MFCC", difference(torch.from_numpy(mfcc(audio)).T, golden.output("mfcc")), SAMPLE)
    reader = SyncNetReader(syncnet(golden), WholeFrame())
    # Our waveforms are in [-1, 1] and our pictures RGB.
    shown = Shown((picture[..., ::-1] for picture in bgr), len(bgr), audio / 32768)
    lips, sounds = reader.features(shown)
    yield Check("features of lips", difference(lips, golden.output("lip_features")))
    yield Check("features of sound", difference(sounds, golden.output("audio_features")))
    distances = distances_by_shift(lips, sounds, golden.config["vshift"])
    yield Check("distance by shift", difference(distances, golden.output("distance_by_shift")))
    yield Check("minimum distance", difference(SyncD.statistic(distances), golden.output("min_distance")))
    yield Check("confidence", difference(SyncC.statistic(distances), golden.output("confidence")))
    offsets = [int(SyncOffset.statistic(distances))], [int(golden.output("offset"))]
    yield Check("offset", share_that_differs(*offsets), EXACT)
