"""What ten minutes of speech cost audio2mesh, and how far its lips depend on the windows that long sounds go through.

    python tests/benchmarks/long_speech.py --weights outputs/real_s1 --audio a.wav b.wav [--minutes 10]

The sounds, one after another and again from the first, make one long one. Prints CPU seconds and the growth of peak
memory for it; then two distances of lips in mm, beside how far lips move about their mean: a stretch of the long sound
against that stretch encoded alone, and each sound in windows against one pass over all of it, if the encoder has
windows.
"""

import argparse
import resource
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from aniportrait.checkpoints.store import open_weights
from aniportrait.data.sound import read_audio
from aniportrait.face.topology import LIPS
from aniportrait.pipelines.head_motion import frame_count
from aniportrait.pipelines.saved_choices import PRETRAINED
from aniportrait.pipelines.saved_networks import load_network

RATE, FPS = 16_000, 25.0
STRETCH = 200
"""Frames of a stretch; a second at either end is left out."""
STRETCHES = 8


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description="Time, memory and windows of long speech.")
    parser.add_argument("--weights", required=True, help="a run of audio2mesh, or a weights folder")
    parser.add_argument("--audio", required=True, nargs="+", help="sound files")
    parser.add_argument("--minutes", type=float, default=10.0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    network = load_network(open_weights(options.weights), "audio2mesh", PRETRAINED)
    sounds = [torch.from_numpy(read_audio(Path(file)))[None] for file in options.audio]
    network(sounds[0], frame_count(sounds[0].shape[-1], FPS))  # warm-up

    once = torch.cat(sounds, dim=1)
    samples = round(options.minutes * 60 * RATE)
    long = once.repeat(1, -(-samples // once.shape[1]))[:, :samples]
    memory, begin = peak_mib(), time.process_time()
    mesh = network(long, frame_count(samples, FPS))[0]
    spent = time.process_time() - begin
    print(
        f"{options.minutes:g} minutes: {spent:.1f} CPU s, {peak_mib() - memory:.0f} MiB more than before, "
        f"{mesh.numel() * mesh.element_size() / 2**20:.0f} of them the result"
    )
    pairs = []
    for number in range(min(STRETCHES, len(mesh) // STRETCH)):
        first = number * STRETCH
        alone = long[:, round(first * RATE / FPS) : round((first + STRETCH) * RATE / FPS)]
        pairs.append((mesh[first : first + STRETCH][25:-25], network(alone, STRETCH)[0][25:-25]))
    tell("a stretch of the long sound against it alone", pairs)
    if hasattr(network.encoder, "window"):
        tell("windows against one pass", [windows_and_pass(network, sound) for sound in sounds])


def windows_and_pass(network: nn.Module, sound: Tensor) -> tuple[Tensor, Tensor]:
    encoder, frames = network.encoder, frame_count(sound.shape[-1], FPS)
    in_windows, window = network(sound, frames)[0], encoder.window
    encoder.window = sound.shape[-1]
    whole = network(sound, frames)[0]
    encoder.window = window
    return in_windows, whole


def tell(what: str, pairs: list[tuple[Tensor, Tensor]]) -> None:
    apart = sum(lips(one - other) for one, other in pairs) / len(pairs)
    moved = sum(lips(other - other.mean(dim=0)) for _, other in pairs) / len(pairs)
    print(f"{what}: lips {apart:.2f} mm apart, where lips move {moved:.2f} mm")


def lips(difference: Tensor) -> float:
    """Mean length, mm, over frames and lip vertices of (f, 468, 3) cm."""
    return float(10 * difference[:, list(LIPS)].norm(dim=-1).mean())


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
