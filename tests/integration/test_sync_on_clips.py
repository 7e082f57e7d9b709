"""The sync measure on filmed clips: an offset is found, and a clip's own sound told from another's.

The three signs that it expects (see sync.py) were chosen looking at these clips; nothing else was fitted to them.
"""

import csv

import numpy as np
import pytest

from aniportrait.data.clip_preparation import clip_crop
from aniportrait.data.constant_rate import MediaReport
from aniportrait.data.film import VideoFile
from aniportrait.data.sources import SourceClip
from aniportrait.data.survey import leading_person, survey
from aniportrait.data.sync import measure_sync
from aniportrait.face.landmarks import FaceLandmarker

FPS = 25.0


def measured_clips(folder, landmarker):
    """(identity, vertices, audio) of the clips longer than 4 s that were found in sync by other means."""
    with (folder.parent / "clips.csv").open(newline="") as table:
        rows = [row for row in csv.DictReader(table) if row["sync"] in ("in sync", "probably in sync")]
    for row in rows:
        if float(row["duration_s"]) > 4:
            film = VideoFile(folder / row["file"])
            seen = survey(film, SourceClip(film.path, "p"), landmarker, FPS, cut_threshold=27.0)
            first, last = max(seen.scenes(), key=lambda scene: scene[1] - scene[0])
            person = leading_person(seen.within(first, last), None)
            landmarks = np.stack([face.landmarks for _, face in person.seen])
            crop = clip_crop(landmarks, seen.width, seen.height, 0.4)
            begin, end = first / FPS, last / FPS
            stills = film.stills(FPS, MediaReport(), begin, end)
            track = landmarker.track((crop.cut(still.pixels(), 256) for still in stills), FPS)
            yield row["identity"], track.vertices, film.sound(begin, len(track) / FPS)


@pytest.mark.slow
@pytest.mark.shared
def test_a_shift_of_200_ms_is_found_and_true_sound_told_from_swapped(shared):
    with FaceLandmarker() as landmarker:
        clips = list(measured_clips(shared / "data" / "clips", landmarker))
    assert len(clips) >= 20
    true = [measure_sync(vertices, audio, FPS) for _, vertices, audio in clips]
    found = []
    for (_, vertices, audio), own in zip(clips, true, strict=True):
        for shift in (-0.2, 0.2):
            measured = measure_sync(vertices, shifted(audio, shift), FPS)
            found.append(abs(measured.lag - own.lag - shift) <= 0.08)
    swapped = [
        measure_sync(vertices, np.resize(other, len(audio)), FPS)
        for person, vertices, audio in clips
        for stranger, _, other in clips
        if stranger != person
    ]
    agreement, chance = (np.array([m.agreement for m in measured]) for measured in (true, swapped))
    auc = float((agreement[:, None] > chance).mean())
    print(
        f"{len(clips)} clips: shift found on {100 * np.mean(found):.0f} %, AUC {auc:.3f} against {len(chance)} swapped"
    )
    off, off_swapped = (np.array([abs(m.lag) for m in measured]) for measured in (true, swapped))
    confidence, confidence_swapped = ([m.confidence for m in measured] for measured in (true, swapped))
    print(
        f"median with their own sound and with swapped: |lag| {np.median(off):.3f} and {np.median(off_swapped):.3f} s, "
        f"agreement {np.median(agreement):.2f} and {np.median(chance):.2f}, "
        f"confidence {np.median(confidence):.1f} and {np.median(confidence_swapped):.1f}"
    )
    assert np.mean(found) >= 0.8
    assert auc >= 0.9
    assert np.median(off) <= 0.08 < 0.2 < np.median(off_swapped)


def shifted(audio, seconds):
    """The sound `seconds` later, as long as before."""
    silence = np.zeros(round(abs(seconds) * 16_000), np.float32)
    if seconds > 0:
        return np.concatenate((silence, audio[: -len(silence)]))
    return np.concatenate((audio[len(silence) :], silence))
