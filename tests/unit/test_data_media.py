"""What users bring, and what we write: rates, rotation, odd sizes, damage, sound."""

import errno
import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from aniportrait.data.clip_codec import decode_frames, encode_clip
from aniportrait.data.constant_rate import MediaReport
from aniportrait.data.media import probe, read_video, write_video
from aniportrait.data.sound import MediaError, NoAudioError, decode_flac, encode_flac, read_audio


def numbered(index: int, width: int = 64, height: int = 64) -> np.ndarray:
    """A picture whose brightness is its number: 6 levels apart, so that coding leaves it readable."""
    return np.full((height, width, 3), 10 + 6 * index, np.uint8)


def number(picture: np.ndarray) -> int:
    return round((float(picture.mean()) - 10) / 6)


def tone(seconds: float, rate: int = 16_000) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def film(path: Path, times: list[float], width: int = 64, height: int = 64) -> Path:
    """A video whose frame i is shown at times[i]."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=1000, options={"bf": "0"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for index, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(numbered(index, width, height), format="rgb24")
            frame.pts, frame.time_base = round(time * 1000), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_any_frame_of_a_clip_can_be_had_by_its_number():
    video = encode_clip([numbered(index) for index in range(40)], 25.0)
    wanted = [39, 0, 13, 12, 11, 39, 25]
    assert [number(picture) for picture in decode_frames(video, wanted)] == wanted
    assert [number(picture) for picture in decode_frames(video, range(3, 35, 2))] == list(range(3, 35, 2))


def test_the_same_frames_give_the_same_clip():
    frames = [numbered(index) for index in range(20)]
    assert encode_clip(frames, 25.0) == encode_clip(iter(frames), 25.0)


def test_a_clip_keeps_its_colours():
    for colour in [(255, 0, 0), (0, 255, 0), (0, 0, 255), (200, 60, 30), (255, 255, 255)]:
        picture = np.broadcast_to(np.uint8(colour), (64, 64, 3))
        decoded = decode_frames(encode_clip([picture] * 2, 25.0), [1])[0]
        assert np.abs(decoded.astype(int) - colour).max() <= 3


def test_a_frame_beyond_the_end_and_bytes_that_are_no_clip_are_errors():
    video = encode_clip([numbered(0)] * 5, 25.0)
    with pytest.raises(MediaError, match="frame 5 is beyond the end"):
        decode_frames(video, [5])
    with pytest.raises(MediaError, match="cannot be decoded"):
        decode_frames(b"not a video" * 10, [0])
    with pytest.raises(ValueError, match="both must be even"):
        encode_clip([np.zeros((5, 6, 3), np.uint8)], 25.0)


def test_flac_gives_back_sixteen_bit_samples_exactly():
    audio = np.random.default_rng(0).integers(-32768, 32767, 12_345).astype(np.float32) / 32768
    np.testing.assert_array_equal(decode_flac(encode_flac(audio)), audio)
    assert encode_flac(audio) == encode_flac(audio)


def test_picture_and_sound_are_of_equal_length_whatever_the_sound_was(tmp_path):
    for seconds in (0.3, 2.0, 5.0):
        path = tmp_path / "a film (1).mp4"
        assert write_video(path, [numbered(index) for index in range(38)], 25.0, tone(seconds)) == 38
        assert abs(len(read_audio(path)) / 16_000 - 38 / 25) < 1 / 25
        assert probe(path).duration == pytest.approx(38 / 25)
    assert list(tmp_path.iterdir()) == [path], "temporary files are gone"


def test_the_sound_of_a_file_is_carried_over(tmp_path):
    first, second = tmp_path / "a.mp4", tmp_path / "b.mp4"
    audio = tone(1.6)
    write_video(first, [numbered(index) for index in range(40)], 25.0, audio)
    write_video(second, [numbered(index) for index in range(40)], 25.0, first)
    copied = read_audio(second)[2000:-2000]
    assert np.corrcoef(copied, audio[2000 : 2000 + len(copied)])[0, 1] > 0.99


def test_odd_sizes_are_padded_and_read_back(tmp_path):
    path = tmp_path / "odd.mp4"
    write_video(path, [numbered(index, 33, 47) for index in range(5)], 25.0)
    assert (probe(path).width, probe(path).height) == (34, 48)
    assert [number(picture) for picture in read_video(path)] == [0, 1, 2, 3, 4]


def test_a_failed_write_leaves_nothing(tmp_path):
    def frames():
        yield numbered(0)
        yield numbered(0, 32, 32)

    with pytest.raises(ValueError, match="frame 1 is 32x32, the first is 64x64"):
        write_video(tmp_path / "a.mp4", frames(), 25.0)
    with pytest.raises(ValueError, match="at least one frame"):
        write_video(tmp_path / "a.mp4", [], 25.0)
    assert not list(tmp_path.iterdir())


def test_a_variable_rate_keeps_its_speed(tmp_path):
    path = film(tmp_path / "a.mp4", [0.0, 0.04, 0.4, 0.44, 0.48, 0.97, 1.0])
    numbers = [number(picture) for picture in read_video(path, 25.0)]
    assert len(numbers) in (26, 27)
    nearest = [
        int(np.argmin(np.abs(np.array([0, 0.04, 0.4, 0.44, 0.48, 0.97, 1.0]) - k / 25))) for k in range(26)
    ]
    assert numbers[:26] == nearest


@pytest.mark.parametrize(("rate", "expected"), [(10, 10), (25, 25), (30, 30), (60, 60)])
def test_one_second_gives_as_many_frames_as_asked_for(tmp_path, rate, expected):
    path = film(tmp_path / "a.mp4", [k / 30 for k in range(30)])
    assert len(list(read_video(path, rate))) == expected


def test_a_rotation_tag_is_honoured(tmp_path):
    path = tmp_path / "a.mp4"
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[:, :32] = 250  # the left half is bright
    write_video(path, [picture] * 5, 25.0)
    data = bytearray(path.read_bytes())
    matrix = data.index(
        struct.pack(">9i", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000), data.index(b"tkhd")
    )
    clockwise = struct.pack(">9i", 0, 0x10000, 0, -0x10000, 0, 0, 48 << 16, 0, 0x40000000)
    data[matrix : matrix + 36] = clockwise
    path.write_bytes(data)
    assert (probe(path).width, probe(path).height) == (48, 64)
    turned = next(read_video(path))
    assert turned.shape == (64, 48, 3)
    assert turned[:30].mean() > 200, "turned clockwise, left comes to the top"
    assert turned[-30:].mean() < 50


def test_one_frame_is_a_video(tmp_path):
    path = tmp_path / "a.mp4"
    write_video(path, [numbered(7)], 25.0)
    assert [number(picture) for picture in read_video(path)] == [7]


def test_a_cut_file_keeps_its_good_frames_and_says_how_many_are_missing(tmp_path):
    path = tmp_path / "a.mp4"
    noise = np.random.default_rng(0).integers(0, 255, (60, 64, 64, 1), dtype=np.uint8)
    noise = np.repeat(noise, 3, axis=3)
    write_video(path, noise, 25.0)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    report = MediaReport()
    frames = list(read_video(path, 25.0, report))
    assert 10 < len(frames) < 50
    assert not report.whole
    assert report.decoded + report.damaged + report.missing == 60
    assert np.abs(frames[5].astype(int) - noise[5]).mean() < 30


def test_what_is_no_video_is_said_in_one_sentence_with_the_name(tmp_path):
    text, empty, folder = tmp_path / "text (1).mp4", tmp_path / "empty.mp4", tmp_path / "folder.mp4"
    text.write_text("this is not a video\n" * 100)
    empty.touch()
    folder.mkdir()
    for path in (text, empty, folder):
        for read in (read_video, read_audio, probe):
            with pytest.raises(MediaError) as caught:
                read(path)
            assert str(path) in str(caught.value)
            assert "\n" not in str(caught.value)
    with pytest.raises(FileNotFoundError, match=r"absent\.mp4 does not exist"):
        read_video(tmp_path / "absent.mp4")


def test_a_list_that_names_other_files_is_not_opened(tmp_path):
    """A playlist would give whoever may hand in a file those of the machine."""
    sound = tmp_path / "private.mp3"
    with av.open(str(sound), "w") as container:
        stream = container.add_stream("mp3", rate=16_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(tone(1.0)[None], format="fltp", layout="mono")
        frame.sample_rate = 16_000
        container.mux([*stream.encode(frame), *stream.encode(None)])
    assert len(read_audio(sound)) > 15_000
    playlist = tmp_path / "voice.m3u8"
    playlist.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1.0,\n{sound}\n#EXT-X-ENDLIST\n")
    for read in (read_audio, probe, read_video):
        with pytest.raises(MediaError, match=r"voice\.m3u8 is not a video or sound file"):
            read(playlist)


def test_what_is_wrong_with_the_machine_is_not_the_files_fault(tmp_path, monkeypatch):
    """A clip that may not be read today is tried again by the next preparation."""
    path = film(tmp_path / "a.mp4", [0.0, 0.04])

    def refused(*_, **__):
        raise av.error.PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(av, "open", refused)
    with pytest.raises(PermissionError, match=r"Permission denied: '.*a\.mp4'"):
        probe(path)


def test_the_beginning_of_a_sound_is_read_and_no_more(tmp_path):
    write_video(tmp_path / "film.mp4", [numbered(0)] * 250, 25.0, tone(10.0))
    whole, part = (read_audio(tmp_path / "film.mp4", longest=seconds) for seconds in (None, 2.0))
    assert 32_000 <= len(part) < 40_000
    assert np.array_equal(part, whole[: len(part)])


def test_sound_alone_has_no_picture_and_picture_alone_no_sound(tmp_path):
    sound, silent, empty = tmp_path / "a.flac", tmp_path / "b.mp4", tmp_path / "c.wav"
    sound.write_bytes(encode_flac(tone(0.5)))
    write_video(silent, [numbered(0)] * 3, 25.0)
    empty.write_bytes(
        b"RIFF\x24\0\0\0WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 16000, 32000, 2, 16) + b"data\0\0\0\0"
    )
    np.testing.assert_allclose(read_audio(sound), tone(0.5), atol=1e-4)
    with pytest.raises(MediaError, match="holds no picture"):
        read_video(sound)
    with pytest.raises(NoAudioError, match="has no sound"):
        read_audio(silent)
    with pytest.raises(NoAudioError, match="zero samples"):
        read_audio(empty)


def test_stereo_becomes_the_mean_of_its_channels_and_loud_peaks_stay(tmp_path):
    """FFmpeg's own mixture to mono is (left + right) / sqrt(2): up to 1.27 here, cut to 1."""
    path = tmp_path / "loud.wav"
    left = (1.8 * tone(0.5) * 32767).astype(np.int16)
    right = np.where(np.arange(len(left)) < 4000, left, 0).astype(np.int16)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=16_000, layout="stereo")
        frame = av.AudioFrame.from_ndarray(
            np.stack([left, right], axis=1).reshape(1, -1), format="s16", layout="stereo"
        )
        frame.sample_rate = 16_000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    mean = (left / 32768 + right / 32768) / 2
    np.testing.assert_allclose(read_audio(path), mean, atol=1e-6)


def test_sound_is_placed_by_its_timestamps(tmp_path):
    """Half a second of sound that begins 0.25 s after the picture comes 0.25 s late in the waveform."""
    path = tmp_path / "late.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=16_000, layout="mono")
        samples = (tone(0.5) * 32767).astype(np.int16)[None]
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 16_000, 4000, Fraction(1, 16_000)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    placed = read_audio(path, start=0.0)
    assert len(placed) == 12_000
    assert not placed[:3990].any()
    np.testing.assert_allclose(placed[4000:], read_audio(path), atol=1e-3)
