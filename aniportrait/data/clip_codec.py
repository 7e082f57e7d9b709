"""Our own clips in memory: encoded so that any frame is near a keyframe, decoded no further than needed."""

import io
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction

import av
import cv2
import numpy as np
from av.video.reformatter import ColorRange

from aniportrait.data.sound import MediaError, Sound

GROUP_OF_PICTURES = 12
"""Frames from one keyframe to the next in our clips: what a random access decodes at most."""
BT601 = 6  # its number in H.264's tables; the matrix that cv2 knows, which makes decoding a third cheaper


def encode_clip(
    frames: Iterable[np.ndarray], fps: float, crf: int = 18, gop: int = GROUP_OF_PICTURES
) -> bytes:
    """An mp4 for a shard: H.264 whose keyframes come every `gop` frames and that looks back only; no sound.

    The same frames give the same bytes.

    Args:
        frames: (h, w, 3) uint8 RGB with even h and w.
        fps: frames per second.
        crf: x264's quality, lower is better.
        gop: frames from keyframe to keyframe.
    """
    options = {"crf": str(crf), "preset": "veryfast", "tune": "fastdecode", "threads": "1"}
    options |= {"g": str(gop), "keyint_min": str(gop), "sc_threshold": "0", "bf": "0"}
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        mux_h264(container, _even_only(frames), fps, None, options)
    return buffer.getvalue()


def decode_frames(video: bytes, indices: Sequence[int]) -> np.ndarray:
    """Some frames of a clip made by `encode_clip`, decoding no more than needed.

    Args:
        video: bytes of the mp4.
        indices: frame numbers from 0, in any order, repeats allowed.

    Returns:
        (len(indices), h, w, 3) uint8 RGB.
    """
    wanted = sorted(set(indices))
    if not wanted or wanted[0] < 0:
        raise ValueError(f"frame indices {list(indices)} must be non-negative and at least one")
    found: dict[int, np.ndarray] = {}
    try:
        with av.open(io.BytesIO(video), "r") as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            ticks = float(_ticks_per_frame(stream))
            position = 0
            decoder = container.decode(stream)
            for target in wanted:
                if target - position >= GROUP_OF_PICTURES:
                    container.seek(round(target * ticks), stream=stream)
                    decoder = container.decode(stream)
                for frame in decoder:
                    position = round((frame.pts or 0) / ticks) + 1
                    if position > target:
                        break
                else:
                    raise MediaError(f"frame {target} is beyond the end of a clip of {position} frames")
                if position != target + 1:
                    raise MediaError(f"frame {target} of a clip is missing")
                found[target] = _rgb(frame)
    except (av.FFmpegError, IndexError) as error:
        raise MediaError(f"a clip of {len(video)} bytes cannot be decoded: {error}") from error
    return np.stack([found[index] for index in indices])


def mux_h264(
    container, frames: Iterable[np.ndarray], fps: float, sound: Sound | None, options: dict[str, str]
) -> int:
    """Encode picture and sound side by side, so that a player finds them close together."""
    rate = Fraction(fps).limit_denominator(1001)
    video = track = None
    count = 0
    for count, picture in enumerate(frames, start=1):
        picture = _even(picture)
        if video is None:
            video = _h264_stream(container, rate, picture, options)
            track = sound.stream_in(container) if sound else None
        elif picture.shape[:2] != (video.height, video.width):
            size, first = f"{picture.shape[1]}x{picture.shape[0]}", f"{video.width}x{video.height}"
            raise ValueError(f"frame {count - 1} is {size}, the first is {first}")
        container.mux(video.encode(_bt601(picture, count - 1, rate)))
        if sound and track:
            container.mux(sound.encode_until(track, count / float(rate)))
    if video is None:
        raise ValueError("a video needs at least one frame, there is none")
    container.mux(video.encode(None))
    if sound and track:
        container.mux(sound.flush(track))
    return count


def _h264_stream(container, rate: Fraction, picture: np.ndarray, options: dict[str, str]) -> av.VideoStream:
    stream = container.add_stream("libx264", rate=rate, options=options)
    stream.width, stream.height = picture.shape[1], picture.shape[0]
    stream.pix_fmt = "yuv420p"
    context = stream.codec_context
    context.time_base = 1 / rate
    context.colorspace = context.color_primaries = context.color_trc = BT601
    context.color_range = ColorRange.MPEG
    return stream


def _bt601(picture: np.ndarray, index: int, rate: Fraction) -> av.VideoFrame:
    planes = np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2YUV_I420), np.uint8)
    frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
    frame.colorspace, frame.color_range = BT601, ColorRange.MPEG
    frame.pts, frame.time_base = index, 1 / rate
    return frame


def _even(picture: np.ndarray) -> np.ndarray:
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
        raise ValueError(f"a frame must be (h, w, 3) uint8, not {picture.shape} {picture.dtype}")
    height, width = picture.shape[:2]
    if height % 2 or width % 2:
        picture = np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    return picture


def _even_only(frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    for picture in frames:
        if picture.shape[0] % 2 or picture.shape[1] % 2:
            raise ValueError(f"a clip's frames are {picture.shape[1]}x{picture.shape[0]}: both must be even")
        yield picture


def _rgb(frame: av.VideoFrame) -> np.ndarray:
    if frame.format.name == "yuv420p" and frame.colorspace == BT601:
        return cv2.cvtColor(frame.to_ndarray(), cv2.COLOR_YUV2RGB_I420)
    return frame.to_ndarray(format="rgb24")


def _ticks_per_frame(stream: av.VideoStream) -> Fraction:
    return 1 / ((stream.average_rate or Fraction(25)) * (stream.time_base or Fraction(1, 90_000)))
