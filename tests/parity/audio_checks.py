"""The published audio models, and the sound they hear, against the original's."""

import math
from collections.abc import Iterator
from pathlib import PurePosixPath

import numpy as np
import torch
from comparison import EXACT, Check, Skipped, difference, share_that_differs
from einops import rearrange
from golden import Golden
from published import audio2mesh, audio2pose
from scipy.signal import firwin
from torch import Tensor

from aniportrait.data.schema import SAMPLE_RATE
from aniportrait.data.sound import read_audio
from aniportrait.models.audio_encoder import Wav2Vec2Encoder, zero_mean_unit_variance

COMMON_BAND = 6500.0
"""Hz that every resampler to 16 kHz passes unchanged; how it falls to silence at 8 kHz is its own affair."""
RESAMPLED = 1e-4
"""Of the loudest sample, in that band."""


def check_audio2mesh(golden: Golden) -> Iterator[Check]:
    """Vertex offsets, and the encoder's features on the way to them."""
    model = audio2mesh(golden)
    for case in golden.cases("audio"):
        features = _features_by_name(model.encoder, golden.input(f"{case}.audio"), _frames(golden, case))
        for name in golden.outputs(f"{case}."):
            if name in features:
                theirs = golden.output(f"{case}.{name}")
                yield Check(f"{case}, {name}", difference(features[name], theirs))
        offsets = model.head(features["last_hidden_state"])
        yield Check(case, difference(offsets.flatten(2), golden.output(case)))


def check_audio2pose(golden: Golden) -> Iterator[Check]:
    """Head poses, each decoded from those before."""
    model = audio2pose(golden)
    for case in golden.cases("audio"):
        audio, identity = golden.input(f"{case}.audio"), golden.input(f"{case}.id")
        head_pose = model.sample(audio, _frames(golden, case), identity=identity)
        yield Check(case, difference(head_pose, golden.output(case)))


def check_audio_features(golden: Golden) -> Iterator[Check | Skipped]:
    """Normalised sound: from the original's own at another level, and from the file by our reader."""
    head = golden.output("audio_feature_head")
    louder = zero_mean_unit_variance(0.1 * head[None] + 0.3)[0]
    yield Check("head, louder", difference(louder, (head - head.mean()) / head.std(correction=0)), RESAMPLED)
    name = PurePosixPath(golden.config["wav"]).name
    file = golden.beside(f"data/audio/aniportrait_{name}") or golden.beside(f"data/audio/{name}")
    if file is None:
        yield Skipped("the file", f"data/audio/aniportrait_{name} is absent (set SHARED)")
        return
    sound = read_audio(file)
    if abs(len(sound) - golden.config["n"]) > 1:  # resamplers differ by a sample in where they end
        raise ValueError(f"{len(sound)} samples are heard, the original heard {golden.config['n']}")
    frames = math.ceil(len(sound) / SAMPLE_RATE * golden.config["fps"])
    yield Check("frames", share_that_differs([frames], [golden.config["seq_len"]]), EXACT)
    ours = zero_mean_unit_variance(torch.from_numpy(sound)[None])[0]
    tail = golden.output("audio_feature_tail")  # only now: what is not reached here is listed as not compared
    start = golden.config["n"] - len(tail)
    for part, theirs, mine in (("head", head, ours), ("tail", tail, ours[start:])):
        samples = min(len(theirs), len(mine))
        expected, heard = _low_band(theirs[:samples]), _low_band(mine[:samples])
        # Up to loudness, which is relative to the whole sound, what lies above the band included.
        heard = heard * (heard @ expected) / (heard @ heard)
        yield Check(f"{part}, below {COMMON_BAND:.0f} Hz", difference(heard, expected), RESAMPLED)


def _frames(golden: Golden, case: str) -> int:
    lengths = golden.config.get("seq_len", {})
    return lengths[case] if case in lengths else golden.output(case).shape[1]


def _features_by_name(encoder: torch.nn.Module, audio: Tensor, frames: int) -> dict[str, Tensor]:
    """What passes through the encoder, as the fixtures name it, each (b, t, c)."""
    if not isinstance(encoder, Wav2Vec2Encoder):
        raise TypeError(f"the published encoder is wav2vec 2.0, not {type(encoder).__name__}")
    seen: dict[str, Tensor] = {}
    hooks = (
        encoder.model.feature_extractor.register_forward_hook(
            lambda _module, _inputs, output: seen.update(conv_features=rearrange(output, "b c t -> b t c"))
        ),
        encoder.model.feature_projection.register_forward_pre_hook(
            lambda _module, inputs: seen.update(interpolated_features=inputs[0])
        ),
    )
    seen["last_hidden_state"] = encoder.encode(audio, frames)
    for hook in hooks:
        hook.remove()
    return seen


def _low_band(sound: Tensor) -> Tensor:
    taps = firwin(401, COMMON_BAND, fs=SAMPLE_RATE, window=("kaiser", 10.0))
    return torch.from_numpy(np.convolve(sound.double().numpy(), taps, "valid"))
