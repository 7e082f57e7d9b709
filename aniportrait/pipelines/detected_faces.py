"""Faces of generated frames, measured as those of film are."""

import numpy as np
from torch import Tensor

from aniportrait.face.crop import resized
from aniportrait.face.landmarks import FaceLandmarker
from aniportrait.face.track import FaceTrack
from aniportrait.pipelines.portrait import tensor_to_images


def detected_faces(landmarker: FaceLandmarker, frames: Tensor, size: int) -> FaceTrack:
    """The largest face of every frame, each by itself; zeros and not valid where there is none.

    Args:
        frames: (f, 3, h, w) in [-1, 1].
        size: side of the pictures that the landmarks to compare with were measured on. MediaPipe's points lie
            about half a pixel off, so that another size moves them: 1 % of a face from 128 to 512 pixels.
    """
    found = [landmarker.detect(resized(image, size)) for image in tensor_to_images(frames)]
    return FaceTrack(
        landmarks=np.concatenate([face.landmarks for face in found]),
        vertices=np.concatenate([face.vertices for face in found]),
        pose_matrix=np.concatenate([face.pose_matrix for face in found]),
        blendshapes=np.concatenate([face.blendshapes for face in found]),
        valid=np.concatenate([face.valid for face in found]),
    )
