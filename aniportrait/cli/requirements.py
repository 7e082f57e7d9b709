"""What a training needs on disk, checked before anything is built."""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from aniportrait.checkpoints.store import Weights
from aniportrait.data.mixture import weights_of
from aniportrait.data.transport import is_local

WHERE = {
    "autoencoder.path": "https://huggingface.co/stabilityai/sd-vae-ft-mse",
    "image_encoder.path": "https://huggingface.co/lambdalabs/sd-image-variations-diffusers (folder image_encoder)",
    "audio_encoder.path": "https://huggingface.co/facebook/wav2vec2-base-960h",
    "pretrained.unet": "https://huggingface.co/stable-diffusion-v1-5/stable-diffusion-v1-5",
    "pretrained.motion_module": "https://huggingface.co/guoyww/animatediff/blob/main/mm_sd_v15_v2.ckpt",
}
"""Setting -> where what it points to can be had."""

NEEDED = {
    "audio2mesh": ("audio_encoder.path",),
    "audio2pose": ("audio_encoder.path",),
    "stage1": ("autoencoder.path", "image_encoder.path", "pretrained.unet"),
    "stage2": ("autoencoder.path", "image_encoder.path", "pretrained.motion_module"),
}
"""Task -> settings that name what it starts from."""


NUMBERS = {
    "autoencoder.path": "autoencoder.sizes",
    "image_encoder.path": "image_encoder.sizes",
    "audio_encoder.path": "audio_encoder.config",
}
"""Setting -> the setting whose numbers, when weights bring them, make the path needless."""

BROUGHT = {"pretrained.unet": "denoising_unet", "pretrained.motion_module": "motion_module"}
"""Setting -> the network whose presence in `weights=` makes the path needless."""


def check_requirements(config: DictConfig, weights: Weights | None) -> None:
    """Raise one FileNotFoundError that lists every missing file, where to get it and which setting points to it."""
    missing = [
        f"{path} (setting {setting}, from {WHERE[setting]})"
        for setting in NEEDED[config.task]
        if (path := OmegaConf.select(config, setting))
        and not _come_with_weights(setting, config, weights)
        and not Path(path).exists()
        and not _is_hub_name(path, config.paths.pretrained)
    ]
    if config.task == "stage2" and weights is None and config.stage1_required:
        missing.append(
            "stage-1 weights (setting weights=, from a run of `python train.py experiment=stage1_reference`)"
        )
    if config.data.build is None:
        data: Any = OmegaConf.to_container(config.data, resolve=True)
        missing += [
            f"shards in {folder} (setting data.folder, from "
            "`python prepare.py source=folder source.path=DIR out=DIR`; or data=synthetic)"
            for folder in weights_of(data["folder"])
            if is_local(folder) and not (Path(folder) / "index.json").is_file()
        ]
    if missing:
        raise FileNotFoundError(f"{config.name} cannot start, missing: " + "; ".join(missing))


def _come_with_weights(setting: str, config: DictConfig, weights: Weights | None) -> bool:
    if setting in NUMBERS:
        return OmegaConf.select(config, NUMBERS[setting]) is not None
    return weights is not None and BROUGHT[setting] in weights


def _is_hub_name(path: str, pretrained: str) -> bool:
    """owner/name, neither absolute nor below the folder of pretrained files."""
    owner, _, name = path.partition("/")
    return (
        bool(owner and name)
        and "/" not in name
        and owner[0] not in ".~"
        and owner != pretrained.split("/")[0]
    )
