"""Head motion as the published audio2pose was run: in chunks, at half the rotation, averaged."""

from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from aniportrait.face.head_pose import smooth_head_pose_published
from aniportrait.models.pose_decoder import check_style


class PublishedMotion:
    """A HeadMotion for the published weights, which know 5 s at a time and turn the head too far.

    Every chunk starts at the reference pose; the average hides the seam. Unlike upstream, sound of any length
    works, no frame is lost at the end, and the seed decides the style.

    Args:
        audio2pose: the network, in eval mode.
        style: which training identity's motion; None lets the generator choose one.
        rotation_scale: what predicted rotations are multiplied by.
        smoothing: odd number of frames averaged, Euler angles and translations alike.
        chunk_frames: decoded at once; the last chunk takes the rest too, so it is up to twice as long.
    """

    def __init__(
        self,
        audio2pose: Any,
        style: int | None = None,
        rotation_scale: float = 0.5,
        smoothing: int = 7,
        chunk_frames: int = 150,
    ):
        check_style(style, audio2pose.identity)
        self.audio2pose = audio2pose
        self.style = style
        self.rotation_scale = rotation_scale
        self.smoothing = smoothing
        self.chunk_frames = chunk_frames

    @torch.inference_mode()
    def __call__(self, audio: Tensor, frames: int, generator: Generator) -> np.ndarray:
        """(frames, 6) degrees and cm of audio (1, n) that spans `frames`."""
        identities = self.audio2pose.identity.num_embeddings
        drawn = torch.randint(identities, (1,), generator=generator, device=generator.device)
        style = drawn if self.style is None else torch.tensor([self.style])
        chunks = max(1, frames // self.chunk_frames)
        ends = [*(self.chunk_frames * i for i in range(1, chunks)), frames]
        encoder = self.audio2pose.encoder
        sound, poses = encoder.normalised(audio), []  # over the whole clip, as upstream
        for start, end in zip([0, *ends], ends, strict=False):
            first, last = (round(frame * audio.shape[1] / frames) for frame in (start, end))
            features = encoder.encode(sound[:, first:last], end - start)
            poses.append(self.audio2pose.roll_out(features, style.to(audio.device))[0])
        head_pose = torch.cat(poses).double().cpu().numpy()
        head_pose[:, :3] *= self.rotation_scale
        return smooth_head_pose_published(head_pose, self.smoothing)
