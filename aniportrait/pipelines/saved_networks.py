"""Networks of a weights folder, built as their cards say and loaded; needs neither Hydra nor Lightning."""

from pathlib import Path
from typing import Any

from torch import nn

from aniportrait.checkpoints.store import Weights, WeightsError, is_motion_key, load_strictly
from aniportrait.models.audio2mesh import Audio2Mesh
from aniportrait.models.denoising_unet import DenoisingUNet
from aniportrait.models.portrait_networks import PortraitNetworks
from aniportrait.models.reference_net import ReferenceNet
from aniportrait.pipelines.head_motion import HeadMotion, NetworkMotion
from aniportrait.pipelines.portrait import PortraitPipeline
from aniportrait.pipelines.sampling_settings import SamplingSettings
from aniportrait.pipelines.saved_choices import (
    CHOICES,
    HEAD_MOTION,
    PRETRAINED,
    Option,
    choices_of,
    numbers_of,
    option_of,
    sizes_of,
    trained_at,
)

ALWAYS = {
    "audio2mesh": Option(Audio2Mesh),
    "reference_net": Option(ReferenceNet),
    "denoising_unet": Option(DenoisingUNet),
}
"""Networks of which there is but one kind; of others, a card chooses the kind under the network's name."""

PARTS = {
    "audio2mesh": {"encoder": "audio_encoder", "head": "mesh_head"},
    "audio2pose": {"encoder": "audio_encoder"},
}
"""Network -> its argument -> the choice that it is."""

PORTRAIT = ("reference_net", "pose_guider", "denoising_unet")
"""What the two steps of Lmk2Video train, but for the motion modules."""


def load_network(weights: Weights, name: str, pretrained: str | Path) -> Any:
    """Build the network `name` of a weights folder and load it, in eval mode.

    Args:
        pretrained: where encoders lie whose sizes the card does not state.
    """
    network = _built(weights, name, pretrained)
    weights.load_into(name, network)
    return network.eval()


def load_portrait_networks(weights: Weights, pretrained: str | Path, *, motion: bool) -> PortraitNetworks:
    """Build and load what animates a portrait; with `motion`, the motion modules as well."""
    parts = {name: load_network(weights, name, pretrained) for name in PORTRAIT}
    for name in ("autoencoder", "image_encoder"):
        if name in weights:
            parts[name] = load_network(weights, name, pretrained)
        else:
            parts[name] = _chosen(weights, name, pretrained)
    if motion:
        add = Option(parts["denoising_unet"].with_motion)
        sizes = sizes_of(weights, "motion_module")
        parts["denoising_unet"] = add(pretrained, sizes, f"{weights.source}: motion_module")
        load_motion(parts["denoising_unet"], weights)
    latent_space = _chosen(weights, "latent_space")
    return PortraitNetworks(**parts, latent_space=latent_space).eval()


def load_motion(denoising_unet: nn.Module, weights: Weights) -> None:
    """Copy the weights called motion_module into the motion modules of a denoiser."""
    weights.card("motion_module")
    state = denoising_unet.state_dict()
    spatial = {key: value for key, value in state.items() if not is_motion_key(key)}
    load_strictly(
        denoising_unet,
        spatial | dict(weights.states["motion_module"]),
        f"motion_module from {weights.source}",
    )


def portrait_pipeline(
    weights: Weights,
    pretrained: str | Path,
    device: str = "cpu",
    *,
    motion: bool | None = None,
    context: str | None = None,
    image_size: int | None = None,
) -> PortraitPipeline:
    """The frame sampler of a weights folder; with its motion modules if it has them, unless `motion` says otherwise.

    Args:
        context: an option of `windows`; None: that of the weights.
        image_size: side of the frames, pixels; None: that of the training.
    """
    if context not in (None, *CHOICES["windows"]):
        raise ValueError(f"context={context} must be one of {', '.join(CHOICES['windows'])}")
    chosen, trained = choices_of(weights, "denoising_unet"), trained_at(weights, "denoising_unet")
    windows = CHOICES["windows"][context or chosen["windows"]]
    with_motion = "motion_module" in weights if motion is None else motion
    return PortraitPipeline(
        load_portrait_networks(weights, pretrained, motion=with_motion).to(device),
        _chosen(weights, "noise_schedule"),
        trained.image_size if image_size is None else image_size,
        windows(context_length=trained.motion_frames),
    )


def own_sampling(weights: Weights) -> SamplingSettings:
    """How frames of these weights are sampled, unless somebody says otherwise."""
    return _chosen(weights, "model")


def _chosen(weights: Weights, group: str, pretrained: str | Path = PRETRAINED) -> Any:
    """What the denoiser's card chooses of a group, with the numbers that it states."""
    numbers = numbers_of(weights, "denoising_unet", group)
    return option_of(weights, "denoising_unet", group)(pretrained, numbers, f"{weights.source}: {group}")


def own_fps(weights: Weights, name: str) -> float:
    """Frames per second that the network `name` was trained at."""
    return float(trained_at(weights, name).fps)


def predicted_motion(
    weights: Weights, pretrained: str | Path, device: str = "cpu", style: int | None = None
) -> HeadMotion:
    """How heads move by the audio2pose of a weights folder.

    Args:
        style: which training identity's motion; None: their mean, of published weights the seed's.
    """
    if "audio2pose" not in weights:
        raise WeightsError(f"{weights.source} holds no audio2pose: add head_pose=still")
    audio2pose = load_network(weights, "audio2pose", pretrained).to(device)
    motion = HEAD_MOTION[choices_of(weights, "audio2pose")["audio2pose"]]
    return NetworkMotion(motion(audio2pose, style), own_fps(weights, "audio2pose"))


def _built(weights: Weights, name: str, pretrained: str | Path) -> Any:
    """The network `name`, not loaded."""
    what, chosen, sizes = f"{weights.source}: {name}", choices_of(weights, name), sizes_of(weights, name)
    parts: dict[str, Any] = {}
    for part, group in PARTS.get(name, {}).items():
        option = CHOICES[group][chosen[group]]
        parts[part] = option(pretrained, sizes.pop(part, {}), f"{what}.{part}")
    network = ALWAYS[name] if name in ALWAYS else CHOICES[name][chosen[name]]
    return network(pretrained, sizes, what, **parts)


def pretrained_of(weights: Weights, pretrained: str | Path) -> list[Path]:
    """Where networks lie that make frames and that the weights do not bring, as far as there is such a place."""
    choices = choices_of(weights, "denoising_unet")
    folders = [
        CHOICES[name][choices[name]].folder
        for name in ("autoencoder", "image_encoder")
        if name not in weights
    ]
    paths = [Path(pretrained) / folder for folder in folders if folder is not None]
    return [path for path in paths if path.exists()]
