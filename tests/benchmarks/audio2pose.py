"""How much CPU time keeping keys and values saves audio2pose, against decoding the whole prefix again for every frame.

    python tests/benchmarks/audio2pose.py [--frames 300] [--repeats 5]

Both sides decode the same frames with the same random weights at full width (512 wide, 8 layers, 8 heads, feed-forward
1024), one thread, in one run; the audio encoder, which runs once either way, is left out. Three ways: the original's
(torch's nn.TransformerDecoder over the prefix of t frames for t = 1, 2, ..., its attention to the sound masked to the
diagonal), our own decoder over every prefix, and `sample`. Prints CPU seconds, how many times less `sample` needs than
each, and the largest difference between the results. `sample` waits for memory (61 MB of weights a frame), prefixes for
arithmetic, so the ratio differs between machines; the last line sets it against the original's own code on the machine
where that was measured, both divided by the calibration (see calibration.py).
"""

import argparse
import math
import time
from collections.abc import Callable

import torch
from calibration import calibrate
from torch import Tensor, nn

from aniportrait.checkpoints.convert_audio import audio2pose_to_published
from aniportrait.models.pose_decoder import POSE_SIZE, causal_bias
from aniportrait.models.published_audio2pose import PublishedAudio2Pose

WIDTH = 768  # of wav2vec2-base
ORIGINAL = 43.2 / 0.585
"""Cost of the original's code at 300 frames, less its encoder: CPU seconds, and the calibration of that machine."""


class GivenFeatures(nn.Module):
    """In place of an audio encoder: features (b, f, 768) that are there already."""

    width = WIDTH

    def forward(self, audio: Tensor, frames: int) -> Tensor:
        return audio[:, :frames]


def main() -> None:
    parser = argparse.ArgumentParser(description="CPU seconds to decode head poses.")
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--repeats", type=int, default=5, help="of sample; the median counts")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = PublishedAudio2Pose(GivenFeatures()).eval()
    features = torch.randn(1, options.frames, WIDTH)
    original = OriginalDecoding(model)
    model.sample(features, 20)  # warm-up
    spent, poses = timed(lambda: model.sample(features, options.frames), options.repeats)
    print(f"{options.frames} frames, 512 wide, 8 layers, one thread, CPU seconds, without the audio encoder")
    print(f"keys and values kept          {spent:7.2f}")
    for name, decode in (
        ("the original's prefixes", lambda: original(features)),
        ("our decoder over prefixes", lambda: prefixes(model, features)),
    ):
        slow, expected = timed(decode, 1)
        difference = float((poses - expected).abs().max() / expected.abs().max())
        print(
            f"{name:29s} {slow:7.2f}   {slow / spent:5.1f} times   largest difference {difference:.1e} "
            "of the largest pose"
        )
    unit = calibrate()
    print(f"calibration {unit:.3f}: {spent / unit:.1f} C", end="")
    ours = f"; the original's code needs {ORIGINAL:.0f} C: {ORIGINAL / (spent / unit):.1f} times"
    print(ours if options.frames == 300 else "")


def timed(work: Callable[[], Tensor], repeats: int) -> tuple[float, Tensor]:
    """CPU seconds, the median of all repeats, and the last result."""
    spent = []
    for _ in range(repeats):
        begin = time.process_time()
        result = work()
        spent.append(time.process_time() - begin)
    return sorted(spent)[len(spent) // 2], result


class OriginalDecoding:
    """AniPortrait's way through torch's decoder, with a model's weights under their published names."""

    def __init__(self, model: PublishedAudio2Pose):
        self.model = model
        layer = nn.TransformerDecoderLayer(512, 8, 1024, batch_first=True)
        self.decoder = nn.TransformerDecoder(layer, 8).eval()
        start = "transformer_decoder."
        published = audio2pose_to_published(model.state_dict())
        self.decoder.load_state_dict(
            {key.removeprefix(start): value for key, value in published.items() if key.startswith(start)}
        )

    @torch.no_grad()
    def __call__(self, features: Tensor) -> Tensor:
        model, frames = self.model, features.shape[1]
        memory = model.memory_input(features)
        places = model._places(1, frames, None)
        order = torch.arange(frames)
        bias = causal_bias(model.decoder.slopes, order, order)
        apart = torch.full((frames, frames), -math.inf).fill_diagonal_(0)
        inputs = model.pose_input(torch.zeros(1, 1, POSE_SIZE))
        for frame in range(1, frames + 1):
            decoded = self.decoder(
                inputs + places[:, :frame],
                memory[:, :frame],
                tgt_mask=bias[:, :frame, :frame],
                memory_mask=apart[:frame, :frame],
            )
            poses = model.pose_output(decoded)
            inputs = torch.cat((inputs, model.pose_input(poses[:, -1:])), dim=1)
        return poses


@torch.no_grad()
def prefixes(model: PublishedAudio2Pose, features: Tensor) -> Tensor:
    """`forward` over every prefix, which takes each frame's pose from the poses before it."""
    poses = torch.zeros(1, features.shape[1], POSE_SIZE)
    for frame in range(1, features.shape[1] + 1):
        poses[:, frame - 1] = model(features, poses[:, :frame])[:, -1]
    return poses


if __name__ == "__main__":
    main()
