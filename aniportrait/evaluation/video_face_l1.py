"""How far the face of a generated video is off, in pixel values."""

import torch
from torch import Tensor

from aniportrait.evaluation.face_l1 import FaceRegionL1
from aniportrait.evaluation.face_regions import face_boxes
from aniportrait.evaluation.frame_by_frame import FrameByFrameMetric
from aniportrait.face.track import FaceTrack


class VideoFaceL1(FrameByFrameMetric):
    """Mean absolute difference in [0, 1] RGB inside the box of the real face's landmarks, mean over frames.

    Frames in which the real video shows no face are left out.
    """

    backend = "box around MediaPipe's landmarks of the real frame"
    higher_is_better = False
    digits = 4

    def of_frames(self, ours: Tensor, real: Tensor, track: FaceTrack) -> Tensor:
        """(n,) nan where there is no real face."""
        boxes = self.boxes(torch.from_numpy(track.landmarks).to(real.device))
        boxes[~torch.from_numpy(track.valid)] = torch.nan  # no pixel lies in such a box
        frames = FaceRegionL1()  # each frame as a clip of its own
        frames.update(ours[:, None], real[:, None], boxes[:, None])
        return frames.per_clip

    def boxes(self, landmarks: Tensor) -> Tensor:
        """Landmarks (n, 478, 3) in [0, 1] -> (n, 4) x0, y0, x1, y1."""
        return face_boxes(landmarks)
