"""Our own clips in memory: encoded so that any frame is near a keyframe, decoded no further than needed."""

import io
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction

import av
import cv2
import numpy as np
from av.container import InputContainer
from av.video.reformatter import ColorRange

from aniportrait.data.sound import MediaError

GROUP_OF_PICTURES = 12
"""Frames from one keyframe to the next in our clips: what a random access decodes at most."""
QUALITY = "18"
"""x264's crf of our clips; lower is better."""
BT601 = 6  # its number in H.264's tables; the matrix that cv2 knows, which makes decoding a third cheaper


def encode_clip(frames: Iterable[np.ndarray], fps: float) -> bytes:
    """An mp4 for a shard: H.264 whose keyframes come every GROUP_OF_PICTURES and that looks back only; no sound.

    The same frames give the same bytes.

    Args:
        frames: (h, w, 3) uint8 RGB with even h and w.
        fps: frames per second.
    """
    with ClipEncoder(fps) as encoder:
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
    places: dict[int, list[int]] = {}
    for place, index in enumerate(indices):
        places.setdefault(index, []).append(place)
    if not places or min(places) < 0:
        raise ValueError(f"frame indices {list(indices)} must be non-negative and at least one")
    pictures: np.ndarray | None = None
    try:
        with av.open(io.BytesIO(video), "r") as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            for index, frame in _frames_at(container, stream, sorted(places)):
                if pictures is None:
                    # One array for all: an allocation for each picture costs more than its colours do.
                    pictures = np.empty((len(indices), frame.height, frame.width, 3), np.uint8)
                if frame.is_corrupt or (frame.height, frame.width) != pictures.shape[1:3]:
                    raise MediaError(f"frame {index} of a clip is damaged")
                first, *others = places[index]
                _write_rgb(frame, pictures[first])
                pictures[others] = pictures[first]
    except (av.FFmpegError, IndexError) as error:
        raise MediaError(f"a clip of {len(video)} bytes cannot be decoded: {error}") from error
    if pictures is None:
        raise MediaError(f"a clip of {len(video)} bytes holds no picture")
    return pictures


def _frames_at(
    container: InputContainer, stream: av.VideoStream, wanted: Sequence[int]
) -> Iterator[tuple[int, av.VideoFrame]]:
    """Those of the ascending numbers, each decoded from the last keyframe or from its predecessor here."""
    ticks = float(_ticks_per_frame(stream))
    position = 0
    decoder = _decoded(container, stream)
    for target in wanted:
        if target - target % GROUP_OF_PICTURES > position:
            container.seek(round(target * ticks), stream=stream)
            decoder = _decoded(container, stream)
        for frame in decoder:
            position = round((frame.pts or 0) / ticks) + 1
            if position > target:
                break
        else:
            raise MediaError(f"frame {target} is beyond the end of a clip of {position} frames")
        if position != target + 1:
            raise MediaError(f"frame {target} of a clip is missing")
        yield target, frame


def _decoded(container: InputContainer, stream: av.VideoStream) -> Iterator[av.VideoFrame]:
    """From where the container stands. Every frame a reader pays for passes here: tests count them."""
    yield from container.decode(stream)


class ClipEncoder:
    """`encode_clip` frame by frame: `add` within the `with` block, take `video` after it."""

    def __init__(self, fps: float):
        gop = str(GROUP_OF_PICTURES)
        options = {"crf": QUALITY, "preset": "veryfast", "tune": "fastdecode", "threads": "1"}
        options |= {"g": gop, "keyint_min": gop, "sc_threshold": "0", "bf": "0"}
        self.video = b""
        self._buffer = io.BytesIO()
        self._container = av.open(self._buffer, "w", format="mp4")
        self._film = FilmWriter(self._container, fps, options)

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
    """Encodes pictures into a container.

    Args:
        container: open for writing.
        fps: frames per second.
        options: of x264.
    """

    def __init__(self, container, fps: float, options: dict[str, str]):
        self.count = 0
        self._container, self._options = container, options
        self._rate = frame_rate(fps)
        self._video: av.VideoStream | None = None

    def add(self, picture: np.ndarray) -> None:
        """Append a frame, (h, w, 3) uint8 RGB; odd sizes gain a repeated row or column."""
        picture = _even(picture)
        if self._video is None:
            self._video = _h264_stream(self._container, self._rate, picture, self._options)
        if picture.shape[:2] != (self._video.height, self._video.width):
            size, first = (
                f"{picture.shape[1]}x{picture.shape[0]}",
                f"{self._video.width}x{self._video.height}",
            )
            raise ValueError(f"frame {self.count} is {size}, the first is {first}")
        self._container.mux(self._video.encode(_bt601(picture, self.count, self._rate)))
        self.count += 1

    def finish(self) -> None:
        """Write what the encoder still holds."""
        if self._video is None:
            raise ValueError("a video needs at least one frame, there is none")
        self._container.mux(self._video.encode(None))


def frame_rate(fps: float) -> Fraction:
    """The fraction that a container writes for `fps` frames per second."""
    return Fraction(fps).limit_denominator(1001)


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


def _write_rgb(frame: av.VideoFrame, picture: np.ndarray) -> None:
    if frame.format.name == "yuv420p" and frame.colorspace == BT601:
        cv2.cvtColor(frame.to_ndarray(), cv2.COLOR_YUV2RGB_I420, dst=picture)
    else:
        picture[:] = frame.to_ndarray(format="rgb24")


def _ticks_per_frame(stream: av.VideoStream) -> Fraction:
    return 1 / ((stream.average_rate or Fraction(25)) * (stream.time_base or Fraction(1, 90_000)))
