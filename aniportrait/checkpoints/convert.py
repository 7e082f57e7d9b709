"""Published UNets (AniPortrait, AnimateAnyone, AnimateDiff, SD 1.5) <-> our names: tables, no loading.

PublishedPoseGuider has the published names, so it needs no table. Audio models: convert_audio.py.
"""

from collections.abc import Mapping

from torch import Tensor

# part of a published key, the same part of ours
_MOTION = (
    (".temporal_transformer.", "."),
    (".attention_blocks.0.", ".attn1."),
    (".attention_blocks.1.", ".attn2."),
    (".norms.0.", ".norm1."),
    (".norms.1.", ".norm2."),
    (".ff_norm.", ".norm3."),
)
_COMPUTED = "pos_encoder.pe"
"""End of the keys of published buffers that our modules compute."""
_HEAD = ("conv_norm_out.", "conv_out.")
"""The output head that ReferenceNet does without."""


def denoising_unet_from_published(*states: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Keys of denoising_unet.pth (or an SD 1.5 unet) and of motion_module.pth -> keys of DenoisingUNet.

    A motion file of AnimateDiff (mm_sd_v15_v2.ckpt, keys with or without "module.") serves as well.
    """
    ours = {}
    for state in states:
        for key, value in state.items():
            if not key.endswith(_COMPUTED):
                ours["unet." + _motion_to_ours(key.removeprefix("module."))] = value
    return ours


def denoising_unet_to_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Keys of DenoisingUNet -> keys of denoising_unet.pth and motion_module.pth, less computed buffers."""
    return {_motion_to_theirs(key.removeprefix("unet.")): value for key, value in state.items()}


def reference_net_from_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Keys of reference_unet.pth (or an SD 1.5 unet, less its head) -> keys of ReferenceNet."""
    return {f"unet.{key}": value for key, value in state.items() if not key.startswith(_HEAD)}


def reference_net_to_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Keys of ReferenceNet -> keys of reference_unet.pth."""
    return {key.removeprefix("unet."): value for key, value in state.items()}


def _motion_to_ours(key: str) -> str:
    if ".motion_modules." in key:
        for theirs, ours in _MOTION:
            key = key.replace(theirs, ours)
    return key


def _motion_to_theirs(key: str) -> str:
    block, motion, rest = key.partition(".motion_modules.")
    if not motion:
        return key
    index, _, inside = rest.partition(".")
    inside = f".{inside}"
    for theirs, ours in _MOTION[1:]:
        inside = inside.replace(ours, theirs)
    return f"{block}{motion}{index}.temporal_transformer{inside}"
