"""python pose_template.py: the face of a film, kept for animate.py."""

import logging

from omegaconf import DictConfig

from aniportrait.cli.face_track import read_track
from aniportrait.pipelines.landmark_track import LandmarkTrack

log = logging.getLogger(__name__)


def make_pose_template(config: DictConfig) -> None:
    """Write the face of config.video, at config.fps, into config.out."""
    if not str(config.out).endswith(".npz"):
        raise ValueError(f"out={config.out} must end in .npz")
    film = LandmarkTrack(read_track(config.video, config.fps, config.paths), config.fps)
    film.save(config.out)
    log.info("wrote %s: %d frames at %g fps", config.out, len(film.face), film.fps)
