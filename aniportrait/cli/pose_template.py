"""python pose_template.py: the head motion of a film, kept for animate.py."""

import logging

from omegaconf import DictConfig

from aniportrait.cli.face_track import read_track
from aniportrait.pipelines.head_motion import PoseTemplate

log = logging.getLogger(__name__)


def make_pose_template(config: DictConfig) -> None:
    """Write the head motion of config.video, at config.fps, into config.out."""
    if not str(config.out).endswith(".npz"):
        raise ValueError(f"out={config.out} must end in .npz")
    template = PoseTemplate.of_track(read_track(config.video, config.fps, config.paths), config.fps)
    template.save(config.out)
    log.info("wrote %s: %d frames at %g fps", config.out, len(template.head_pose), template.fps)
