"""The sound of one clip: audible, beside the lips, and as long as the picture."""

import numpy as np

from aniportrait.data.film import Film
from aniportrait.data.gates import Gates
from aniportrait.data.piece import Piece
from aniportrait.data.schema import SAMPLE_RATE
from aniportrait.data.sound import MediaError, NoAudioError
from aniportrait.data.sync import measure_sync
from aniportrait.face.track import FaceTrack

SILENCE = 1e-3
"""Largest sample of a sound track that is taken for none."""
AUDIBLE = 0.03
"""Loudness, in parts of the loud frames' (95th percentile), from which on a frame's sound is audible: -30 dB."""
LONGEST_SILENT_END = 0.5
"""Seconds the sound may end before the picture without a word about it."""


def clip_sound(
    piece: Piece, film: Film, begin: float, track: FaceTrack, fps: float, gates: Gates
) -> np.ndarray | None:
    """The waveform, exactly as long as the picture and in sync with it; None where there is none to speak of.

    Args:
        piece: told of what is measured and mended.
        begin: seconds of the film at which the track begins.
        track: of the face, at `fps`.
    """
    seconds = len(track) / fps
    audio = _waveform(piece, film, begin, seconds)
    piece.figures["sound"] = 0.0 if audio is None else _audible_share(audio, fps)
    gates.check_sound(piece.figures["sound"])
    if audio is None:
        return None
    measured = measure_sync(track.vertices, audio, fps)
    if measured is not None:
        piece.figures |= {
            "sync_lag": measured.lag,
            "sync_agreement": measured.agreement,
            "sync_confidence": measured.confidence,
        }
        if shift := gates.shift(measured.lag, measured.confidence):
            audio = _waveform(piece, film, begin + shift, seconds)
            piece.notes.append(
                f"sound shifted: it was {abs(shift):.2f} s {'late' if shift > 0 else 'early'} "
                f"(confidence {measured.confidence:.1f})"
            )
        else:
            gates.check_agreement(measured.agreement)
    if audio is None:
        return None
    if (lacking := round(seconds * SAMPLE_RATE) - len(audio)) > LONGEST_SILENT_END * SAMPLE_RATE:
        piece.notes.append(f"sound continued with {lacking / SAMPLE_RATE:.1f} s of silence")
    return np.pad(audio, (0, lacking))


def _waveform(piece: Piece, film: Film, begin: float, seconds: float) -> np.ndarray | None:
    try:
        audio = film.sound(begin, seconds)
    except NoAudioError:
        return None
    except MediaError as error:
        piece.notes.append(f"sound left out: {error}")
        return None
    if not len(audio) or np.abs(audio).max() < SILENCE:
        piece.notes.append("sound left out: it is silent")
        return None
    return audio


def _audible_share(audio: np.ndarray, fps: float) -> float:
    """Share of the frames whose loudness is near that of the loud ones."""
    length = round(SAMPLE_RATE / fps)
    frames = audio[: len(audio) // length * length].reshape(-1, length)
    if not len(frames):
        return 0.0
    loudness = np.sqrt((frames.astype(np.float64) ** 2).mean(axis=1))
    return round(float((loudness >= max(AUDIBLE * np.percentile(loudness, 95), SILENCE / 10)).mean()), 3)
