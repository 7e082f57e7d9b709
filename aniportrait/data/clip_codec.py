"""Our own clips in memory: encoded so that any frame is near a keyframe, decoded no further than needed."""

import io
from collections.abc import Iterable, Sequence
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
    with ClipEncoder(fps, crf, gop) as encoder:
        for picture in frames:
            encoder.add(picture)
    return encoder.video


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


class ClipEncoder:
    """`encode_clip` frame by frame: `add` within the `with` block, take `video` after it."""

    def __init__(self, fps: float, crf: int = 18, gop: int = GROUP_OF_PICTURES):
        options = {"crf": str(crf), "preset": "veryfast", "tune": "fastdecode", "threads": "1"}
        options |= {"g": str(gop), "keyint_min": str(gop), "sc_threshold": "0", "bf": "0"}
        self.video = b""
        self._buffer = io.BytesIO()
        self._container = av.open(self._buffer, "w", format="mp4")
        self._film = FilmWriter(self._container, fps, None, options)

    def __enter__(self) -> "ClipEncoder":
        return self

    def add(self, picture: np.ndarray) -> None:
        """Append a frame, (h, w, 3) uint8 RGB with even h and w."""
        if picture.shape[0] % 2 or picture.shape[1] % 2:
            raise ValueError(f"a clip's frames are {picture.shape[1]}x{picture.shape[0]}: both must be even")
        self._film.add(picture)

    def __exit__(self, kind, error, traceback) -> None:
        with self._container:
            if kind is None:
                self._film.finish()
        if kind is None:
            self.video = self._buffer.getvalue()


class FilmWriter:
    """Encodes picture and sound side by side into a container, so that a player finds them close together.

    Args:
        container: open for writing.
        fps: frames per second.
        sound: cut, or continued with silence, to the length of the picture.
        options: of x264.
    """

    def __init__(self, container, fps: float, sound: Sound | None, options: dict[str, str]):
        self.count = 0
        self._container, self._sound, self._options = container, sound, options
        self._rate = Fraction(fps).limit_denominator(1001)
        self._video: av.VideoStream | None = None
        self._track: av.AudioStream | None = None

    def add(self, picture: np.ndarray) -> None:
        """Append a frame, (h, w, 3) uint8 RGB; odd sizes gain a repeated row or column."""
        picture = _even(picture)
        if self._video is None:
            self._video = _h264_stream(self._container, self._rate, picture, self._options)
            self._track = self._sound.stream_in(self._container) if self._sound else None
        if picture.shape[:2] != (self._video.height, self._video.width):
            size, first = (
                f"{picture.shape[1]}x{picture.shape[0]}",
                f"{self._video.width}x{self._video.height}",
            )
            raise ValueError(f"frame {self.count} is {size}, the first is {first}")
        self._container.mux(self._video.encode(_bt601(picture, self.count, self._rate)))
        self.count += 1
        if self._sound and self._track:
            self._container.mux(self._sound.encode_until(self._track, self.count / float(self._rate)))

    def finish(self) -> None:
        """Write what the encoders still hold."""
        if self._video is None:
            raise ValueError("a video needs at least one frame, there is none")
        self._container.mux(self._video.encode(None))
        if self._sound and self._track:
            self._container.mux(self._sound.flush(self._track))


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


def _rgb(frame: av.VideoFrame) -> np.ndarray:
    if frame.format.name == "yuv420p" and frame.colorspace == BT601:
        return cv2.cvtColor(frame.to_ndarray(), cv2.COLOR_YUV2RGB_I420)
    return frame.to_ndarray(format="rgb24")


def _ticks_per_frame(stream: av.VideoStream) -> Fraction:
    return 1 / ((stream.average_rate or Fraction(25)) * (stream.time_base or Fraction(1, 90_000)))
