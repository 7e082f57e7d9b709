"""How far the mouth of a generated video is off, in pixel values."""

from torch import Tensor

from aniportrait.evaluation.face_regions import mouth_boxes
from aniportrait.evaluation.video_face_l1 import VideoFaceL1


class VideoMouthL1(VideoFaceL1):
    """As VideoFaceL1, inside the box of the real lips and a quarter of their width around them."""

    backend = "box around MediaPipe's landmarks of the real frame's lips, with a margin"

    def boxes(self, landmarks: Tensor) -> Tensor:
        """Landmarks (n, 478, 3) in [0, 1] -> (n, 4) x0, y0, x1, y1."""
        return mouth_boxes(landmarks)
