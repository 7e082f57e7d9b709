"""How fast a training loader gets its frames out of our clips: PyAV against decord (decord2), from bytes.

    python tests/benchmarks/decode.py [--size 256] [--seconds 10] [--repeats 200]

Both read the same mp4 (made by `encode_clip`: keyframe every 12 frames) from memory, open it anew for every
sample as a loader does, with one thread. Prints CPU milliseconds per sample, the median of all repeats, and
decord's divided by PyAV's.
"""

import argparse
import io
import time

import cv2
import numpy as np

from aniportrait.data.clip_codec import decode_frames, encode_clip

ACCESSES = {
    "1 frame": (1, 1),
    "16 frames, stride 1": (16, 1),
    "16 frames, stride 4": (16, 4),
    "16 frames, stride 8": (16, 8),
}


def main() -> None:
    parser = argparse.ArgumentParser(description="CPU milliseconds to decode one training sample.")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=200)
    options = parser.parse_args()
    video = clip(options.size, options.seconds * 25)
    readers = {"PyAV": decode_frames}
    try:
        import decord

        readers["decord"] = lambda data, indices: with_decord(decord, data, indices)
    except ImportError:
        print("decord is not installed (pip install decord2): PyAV alone")
    print(f"{options.size}x{options.size}, {options.seconds} s, {len(video)} bytes")
    for name, (count, stride) in ACCESSES.items():
        spent = {reader: [] for reader in readers}
        generator = np.random.default_rng(0)
        for _ in range(options.repeats):
            first = int(generator.integers(options.seconds * 25 - (count - 1) * stride))
            indices = [first + stride * k for k in range(count)]
            for reader, read in readers.items():
                begin = time.process_time()
                read(video, indices)
                spent[reader].append(time.process_time() - begin)
        medians = {reader: 1000 * float(np.median(times)) for reader, times in spent.items()}
        ratio = f"   {medians['decord'] / medians['PyAV']:.2f}" if "decord" in medians else ""
        print(f"{name:22s}", "   ".join(f"{reader} {ms:6.2f} ms" for reader, ms in medians.items()), ratio)


def with_decord(decord, data: bytes, indices: list[int]) -> np.ndarray:
    return decord.VideoReader(io.BytesIO(data), num_threads=1).get_batch(indices).asnumpy()


def clip(size: int, frames: int) -> bytes:
    """A textured picture that turns and drifts: about as hard to decode as a face."""
    noise = np.random.default_rng(0).integers(0, 255, (size // 8, size // 8, 3), dtype=np.uint8)
    picture = cv2.resize(noise, (size, size), interpolation=cv2.INTER_CUBIC)
    pictures = []
    for index in range(frames):
        angle, scale = 10 * np.sin(index / 15), 1 + 0.1 * np.sin(index / 9)
        turn = cv2.getRotationMatrix2D((size / 2, size / 2), angle, scale)
        pictures.append(cv2.warpAffine(picture, turn, (size, size), borderMode=cv2.BORDER_REFLECT))
    return encode_clip(pictures, 25.0)


if __name__ == "__main__":
    main()
