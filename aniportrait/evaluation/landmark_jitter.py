"""Whether a face trembles, seen without a true one."""

from torch import Tensor

from aniportrait.evaluation.face_metric import FaceMetric
from aniportrait.evaluation.face_regions import face_boxes
from aniportrait.evaluation.head_motion_jitter import four_in_a_row
from aniportrait.evaluation.landmark_score import landmarks_in_picture
from aniportrait.evaluation.per_clip import mean_over_frames
from aniportrait.evaluation.video_metric import NotScoredError
from aniportrait.evaluation.video_pair import VideoPair
from aniportrait.face.topology import VERTICES


class LandmarkJitter(FaceMetric):
    """Mean length of the third difference of the skin's 468 landmarks in the picture, % of face size per frame^3.

    The face size is the root of the landmarks' box's area, mean over the clip. Steady motion and steady acceleration
    have no third difference, so head motion need not be removed, and a head that trembles as a whole is seen too; a
    point that jumps by a and back every frame scores 4 a. Four neighbouring frames with a face count. It needs no
    real video; the landmarker's own noise is in it, so hold it against the figure of real videos of the same rate.
    """

    topic = "motion"
    higher_is_better = False
    backend = "MediaPipe FaceLandmarker's landmarks 0 to 467"
    unit = "% of face size per frame³"

    def figure(self, pair: VideoPair) -> Tensor:
        valid = self.valid(pair)[None]
        four = four_in_a_row(valid)
        if not four.any():
            raise NotScoredError("no four neighbouring frames show a face")
        points = landmarks_in_picture(pair.generated)[None, :, :VERTICES]
        x0, y0, x1, y1 = face_boxes(points).unbind(dim=-1)
        size = mean_over_frames(((x1 - x0) * (y1 - y0)).sqrt(), valid)
        third = points.diff(n=3, dim=1).norm(dim=-1).mean(dim=-1)
        return 100 * mean_over_frames(third, four) / size
