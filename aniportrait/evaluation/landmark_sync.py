"""How lips and sound of a video agree, by its detected face: no trained weights are asked."""

from aniportrait.data.sync import SHORTEST, SyncMeasurement, measure_sync
from aniportrait.evaluation.video_metric import NotScoredError
from aniportrait.evaluation.video_pair import ScoredVideo
from aniportrait.face.landmarks import fill_gaps

LANDMARK_SYNC = (
    "MediaPipe's landmarks and bands of the sound's spectrum, shifted against each other by up to 1 s"
)


def landmark_sync(video: ScoredVideo) -> SyncMeasurement:
    """`measure_sync` of a video with its sound; frames without a face are filled from their neighbours.

    Raises:
        NotScoredError: it is silent or too short, shows too little of a face, or the mouth stands still.
    """
    if video.audio is None:
        raise NotScoredError("it has no sound")
    seen = int(video.track.valid.sum())
    if seen < SHORTEST * video.fps:
        raise NotScoredError(f"a face is seen for {seen / video.fps:.1f} s, {SHORTEST:g} s are the least")
    measured = measure_sync(fill_gaps(video.track).vertices, video.audio, video.fps)
    if measured is None:
        raise NotScoredError(f"its sound is silent or shorter than {SHORTEST:g} s, or its mouth stands still")
    return measured
