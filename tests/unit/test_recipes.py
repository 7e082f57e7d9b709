"""Both steps of Lmk2Video as they are trained: the original's numbers, and ours where they differ."""

import pytest
from entries import composed
from hydra.utils import instantiate
from omegaconf import OmegaConf

from aniportrait.cli.train import build_module
from aniportrait.models.portrait_networks import PortraitNetworks

SHARED = {  # by all four at full size
    "image_size": 512,
    "learning_rate": 1e-5,
    "noise_schedule.beta_start": 0.00085,
    "noise_schedule.beta_end": 0.012,
    "noise_schedule.beta_schedule": "scaled_linear",
    "module.condition_dropout": 0.1,
    "module.noise_offset": 0.05,
    "module.snr_gamma": 5.0,
    "module.face_weight": 1.0,
    "optimizer.lr": 1e-5,
    "optimizer.betas": [0.9, 0.999],
    "optimizer.weight_decay": 0.01,
    "optimizer.eps": 1e-8,
    "trainer.devices": 4,
    "trainer.strategy": {
        "_target_": "lightning.pytorch.strategies.DDPStrategy",
        "gradient_as_bucket_view": True,
    },
    "trainer.gradient_clip_val": 1.0,
    "trainer.accumulate_grad_batches": 1,
    "datamodule.flip_chance": 0.0,
    "datamodule.smallest_crop": 1.0,
    "datamodule.colour_change": 0.0,
    "pretrained.unet": "pretrained_model/stable-diffusion-v1-5",
    "image_encoder._target_": "aniportrait.models.image_encoder.ClipImageEncoder",
    "autoencoder._target_": "aniportrait.models.autoencoder.SDVae",
    "latent_space._target_": "aniportrait.models.latent_space.AbsoluteLatents",
}
PUBLISHED = {
    "optimizer._target_": "bitsandbytes.optim.AdamW8bit",
    "lr_schedule.name": "constant_with_warmup",
    "lr_schedule.num_warmup_steps": 1,
    "trainer.precision": "16-mixed",
    "callbacks.ema": None,
    "pose_guider._target_": "aniportrait.models.pose_guider.PublishedPoseGuider",
    "pose_guider.input_range": [-1.0, 1.0],
    "module.image_embeds_dropout": 0.0,
    "module.reference_dropout": 0.0,
    "module.mouth_weight": 1.0,
    "datamodule.min_reference_gap": 0,
}
OURS = {
    "optimizer._target_": "torch.optim.AdamW",
    "lr_schedule.name": "cosine",
    "lr_schedule.num_warmup_steps": 50,
    "trainer.precision": "bf16-mixed",
    "callbacks.ema.decay": 0.9995,
    "pose_guider._target_": "aniportrait.models.pose_guider.ReferenceAwarePoseGuider",
    "module.image_embeds_dropout": 0.05,
    "module.reference_dropout": 0.05,
    "module.mouth_weight": 2.0,
    "module.frozen": [],
    "datamodule.min_reference_gap": 8,
}
STAGE1 = {"batch_size": 2, "datamodule.frames": 1, "gradient_checkpointing": False}
STAGE2 = {
    "batch_size": 1,
    "max_steps": 40_000,
    "datamodule.frames": 16,
    "datamodule.strides": [1, 4],
    "gradient_checkpointing": True,
    "pretrained.motion_module": "pretrained_model/mm_sd_v15_v2.ckpt",
    "module.frozen": [],
}
FROZEN = ["reference_net.unet.up_blocks.3"]
RECIPES = {
    "stage1_published": SHARED | PUBLISHED | STAGE1 | {"max_steps": 300_000, "module.frozen": FROZEN},
    "stage2_published": SHARED | PUBLISHED | STAGE2,
    "stage1_reference": SHARED | OURS | STAGE1 | {"max_steps": 30_000},
    "stage2_motion": SHARED | OURS | STAGE2,
}


@pytest.mark.parametrize("experiment", RECIPES)
def test_the_recipe_has_the_numbers_of_the_table(experiment):
    with composed("train", f"experiment={experiment}", "model=sd15") as config:
        found = {key: OmegaConf.select(config, key) for key in RECIPES[experiment]}
        plain = {k: OmegaConf.to_container(v) if OmegaConf.is_config(v) else v for k, v in found.items()}
        assert plain == RECIPES[experiment]
        scheduler = instantiate(config.noise_schedule)
        assert scheduler.config["prediction_type"] == "v_prediction"
        assert scheduler.config["timestep_spacing"] == "trailing"
        assert float(scheduler.alphas_cumprod[-1]) == 0.0, "the last step is noise alone"


def trained(experiment: str, *settings: str) -> tuple[PortraitNetworks, set[str]]:
    """The networks of a small run and the names of what it trains; four levels as Stable Diffusion has."""
    small = ("sizes.unet.block_out_channels=[32,32,32,32]", "sizes.unet.norm_num_groups=8")
    rest = ("model=tiny", "sizes.motion.motion_norm_num_groups=8", "optimizer=adamw", *small, *settings)
    with composed("train", f"experiment={experiment}", *rest) as config:
        networks = build_module(config, None).networks
    return networks, {name for name, weight in networks.named_parameters() if weight.requires_grad}


def test_the_published_step_one_trains_all_but_the_last_block_of_the_reference_net():
    networks, ours = trained("stage1_reference", "pose_guider=published_running")
    _, published = trained("stage1_published")
    given_up = ours - published
    assert published < ours
    assert given_up
    assert all(name.startswith("reference_net.unet.up_blocks.3.") for name in given_up)
    assert not any(name.startswith("reference_net.unet.up_blocks.3.") for name in published)
    for part in ("reference_net.", "pose_guider.", "denoising_unet."):
        assert any(name.startswith(part) for name in published), part
    frozen = {name for name, _ in networks.named_parameters()} - ours
    assert all("attn2" in name or "norm2" in name or "reference_net" in name for name in frozen)


@pytest.mark.parametrize("experiment", ["stage2_motion", "stage2_published"])
def test_step_two_trains_the_motion_modules_alone(experiment):
    networks, names = trained(experiment)
    assert names == {name for name, _ in networks.named_parameters() if "motion_modules." in name}


def test_what_is_to_be_frozen_must_exist():
    with pytest.raises(ValueError, match=r"frozen \(reference_net.unet.up_blocks.7\) must be the beginning"):
        trained("stage1_reference", "module.frozen=[reference_net.unet.up_blocks.7]")
