"""python pose_template.py: the face of a film, kept for animate.py."""

import logging
from pathlib import Path

from omegaconf import DictConfig

from aniportrait.cli.pipelines import face_landmarker
from aniportrait.cli.progress import Progress
from aniportrait.pipelines.face_track import read_track
from aniportrait.pipelines.landmark_track import LandmarkTrack

log = logging.getLogger(__name__)


def make_pose_template(config: DictConfig) -> None:
    """Write the face of config.video, at config.fps, into config.out."""
    if Path(config.out).suffix != ".npz":
        raise ValueError(f"out={config.out} must end in .npz")
    with face_landmarker(config.paths, "image") as landmarker, Progress() as progress:
        face = read_track(config.video, config.fps, landmarker, progress=progress)
    LandmarkTrack(face, config.fps).save(config.out)
    log.info("wrote %s: %d frames at %g fps", config.out, len(face), config.fps)
