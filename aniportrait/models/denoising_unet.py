"""The denoising UNet: stock diffusers blocks, landmarks added on the way down, a portrait to attend to."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.models.unets.unet_motion_model import UNetMotionModel
from einops import rearrange
from torch import Tensor, nn

from aniportrait.models.checkpointing import checkpoint_layers
from aniportrait.models.image_attention import image_answer
from aniportrait.models.motion_module import MotionModule
from aniportrait.models.portrait_attention import install_portrait_attention, spatial_blocks
from aniportrait.models.reference_attention import KeyValue, ReferenceFeatures, project_tokens
from aniportrait.models.reference_net import spatial_unet


class DenoisingUNet(nn.Module):
    """Predicts what the noise schedule asks for, frame by frame (stage 1) or, `with_motion`, clip by clip.

    See `spatial_unet` for the sizes. Cross-attention to the portrait's one token needs no queries and keys; those
    weights (`norm2`, `to_q` and `to_k` of every `attn2`) can get no gradient and are frozen.
    """

    reference_names: list[str]  # of the self-attentions that a portrait speaks to
    unet: Any  # a UNet2DConditionModel, or with motion a UNetMotionModel: the same names for the same parts

    def __init__(
        self,
        in_channels: int = 4,
        block_out_channels: Sequence[int] = (320, 640, 1280, 1280),
        layers_per_block: int = 2,
        cross_attention_dim: int = 768,
        attention_head_dim: int = 8,
        norm_num_groups: int = 32,
    ):
        super().__init__()
        self.unet = spatial_unet(
            in_channels,
            block_out_channels,
            layers_per_block,
            cross_attention_dim,
            attention_head_dim,
            norm_num_groups,
        )
        self.reference_names = [f"{name}.attn1" for name in spatial_blocks(self.unet)]

    def forward(
        self,
        noisy_latents: Tensor,
        timesteps: Tensor,
        image_embeds: Tensor | dict[str, Tensor] | None = None,
        pose_features: Sequence[Tensor] | None = None,
        reference_features: ReferenceFeatures | None = None,
        reference_keep: Tensor | None = None,
    ) -> Tensor:
        """Denoise.

        Args:
            noisy_latents: (b, f, c, h, w).
            timesteps: (b,) integers.
            image_embeds: (b, 1, d); None is the null embedding, zeros. Or what `projected` made of it.
            pose_features: one (b, f, c, h, w) per level and one for the input; None adds nothing.
            reference_features: from a ReferenceNet of the same sizes; None attends to the frame alone. Or what
                `projected` made of them.
            reference_keep: (b,) bool; where False the sample gets no reference. None keeps all.

        Returns:
            (b, f, c, h, w).
        """
        self._check(noisy_latents, image_embeds, pose_features, reference_features)
        b, f = noisy_latents.shape[:2]
        unet = self.unet
        pose = [rearrange(p, "b f c h w -> (b f) c h w") for p in pose_features or ()]
        if image_embeds is None:
            image_embeds = noisy_latents.new_zeros((b, 1, unet.config["cross_attention_dim"]))
        answers = image_embeds if isinstance(image_embeds, dict) else None
        spatial = {
            "encoder_hidden_states": None if answers is not None else image_embeds,
            "cross_attention_kwargs": {
                "reference_features": reference_features,
                "reference_keep": reference_keep,
                "image_answers": answers,
            },
        }

        def conditions(block: nn.Module) -> dict:
            attends = getattr(block, "has_cross_attention", False)
            moves = hasattr(block, "motion_modules")
            return (spatial if attends else {}) | ({"num_frames": f} if moves else {})

        time = unet.time_proj(timesteps.expand(b)).to(noisy_latents.dtype)
        temb = unet.time_embedding(time).repeat_interleave(f, dim=0)
        hidden = unet.conv_in(rearrange(noisy_latents, "b f c h w -> (b f) c h w"))
        if pose:
            hidden = hidden + pose[0]
        skips: tuple[Tensor, ...] = (hidden,)
        for level, block in enumerate(unet.down_blocks, start=1):
            hidden, states = block(hidden, temb, **conditions(block))
            skips += states
            if pose:  # after the skips: landmarks of this scale reach deeper levels only
                hidden = hidden + pose[level]
        hidden = unet.mid_block(hidden, temb, **conditions(unet.mid_block))
        for block in unet.up_blocks:
            own, skips = skips[-len(block.resnets) :], skips[: -len(block.resnets)]
            size = skips[-1].shape[2:] if skips else None
            hidden = block(hidden, own, temb, upsample_size=size, **conditions(block))
        out = unet.conv_out(unet.conv_act(unet.conv_norm_out(hidden)))
        return rearrange(out, "(b f) c h w -> b f c h w", b=b)

    def projected(
        self, image_embeds: Tensor, reference_features: dict[str, Tensor] | None
    ) -> tuple[dict[str, Tensor], dict[str, KeyValue] | None]:
        """What every call makes of a portrait, made once: pass it in place of what it was made of.

        Args:
            image_embeds: (b, 1, d).
            reference_features: name -> (b, l, c), or None.

        Returns:
            name -> answer (b, 1, c) of each cross-attention; name -> keys and values of each self-attention.
        """
        blocks = spatial_blocks(self.unet)
        answers = {f"{name}.attn2": image_answer(block.attn2, image_embeds) for name, block in blocks.items()}
        if reference_features is None:
            return answers, None
        self._check_names(reference_features)
        return answers, {
            f"{name}.attn1": project_tokens(block.attn1, reference_features[f"{name}.attn1"])
            for name, block in blocks.items()
        }

    def with_motion(
        self,
        motion_max_seq_length: int = 32,
        motion_num_attention_heads: int = 8,
        motion_norm_num_groups: int | None = None,
    ) -> "DenoisingUNet":
        """A second denoiser, with a silent motion module after every layer; it shares our spatial weights.

        Args:
            motion_max_seq_length: the longest window, in frames.
            motion_num_attention_heads: must divide every width.
            motion_norm_num_groups: must divide every width; None: the UNet's own. AnimateDiff always has 32.
        """
        config = self.unet.config
        groups = motion_norm_num_groups or config["norm_num_groups"]
        for channels in config["block_out_channels"]:
            if channels % motion_num_attention_heads:
                raise ValueError(
                    f"motion_num_attention_heads ({motion_num_attention_heads}) must divide every width, "
                    f"not {channels}"
                )
            if channels % groups:
                raise ValueError(f"motion_norm_num_groups ({groups}) must divide every width, not {channels}")
        with torch.device("meta"):  # every weight is replaced below: nothing to allocate or initialise
            motion = UNetMotionModel(
                in_channels=config["in_channels"],
                out_channels=config["out_channels"],
                down_block_types=tuple(_motion_block(kind) for kind in config["down_block_types"]),
                up_block_types=tuple(_motion_block(kind) for kind in config["up_block_types"]),
                block_out_channels=config["block_out_channels"],
                layers_per_block=config["layers_per_block"],
                cross_attention_dim=config["cross_attention_dim"],
                norm_num_groups=config["norm_num_groups"],
                num_attention_heads=config["attention_head_dim"],
                motion_max_seq_length=motion_max_seq_length,
                motion_num_attention_heads=motion_num_attention_heads,
            )
        for name in ("conv_in", "time_proj", "time_embedding", "conv_norm_out", "conv_act", "conv_out"):
            setattr(motion, name, getattr(self.unet, name))
        for block, source in zip(_blocks(motion), _blocks(self.unet), strict=True):
            for name in ("resnets", "attentions", "downsamplers", "upsamplers"):
                if hasattr(source, name):
                    setattr(block, name, getattr(source, name))
            for i, module in enumerate(block.motion_modules):
                block.motion_modules[i] = MotionModule(
                    module.in_channels,
                    motion_num_attention_heads,
                    motion_max_seq_length,
                    groups,
                ).to(self.unet.device, self.unet.dtype)
        install_portrait_attention(motion)
        denoiser = DenoisingUNet.__new__(DenoisingUNet)
        nn.Module.__init__(denoiser)
        denoiser.unet, denoiser.reference_names = motion, self.reference_names
        return denoiser.train(self.training)

    @property
    def motion_max_seq_length(self) -> int | None:
        """The most frames one call can take; None without motion modules."""
        return self.unet.config.get("motion_max_seq_length")

    def motion_parameters(self) -> Iterator[nn.Parameter]:
        """The weights of the motion modules: what stage 2 trains."""
        for name, parameter in self.named_parameters():
            if "motion_modules." in name:
                yield parameter

    def enable_gradient_checkpointing(self) -> None:
        """Recompute the large activations in the backward pass instead of keeping them; see `checkpoint_layers`."""
        checkpoint_layers(self.unet)

    def _check(
        self,
        noisy_latents: Tensor,
        image_embeds: Tensor | dict[str, Tensor] | None,
        pose_features: Sequence[Tensor] | None,
        reference_features: ReferenceFeatures | None,
    ) -> None:
        frames, longest = noisy_latents.shape[1], self.motion_max_seq_length
        if longest is not None and frames > longest:
            raise ValueError(f"a window of {frames} frames is longer than motion_max_seq_length ({longest})")
        if isinstance(image_embeds, Tensor) and image_embeds.shape[1] != 1:
            raise ValueError(f"image_embeds of {image_embeds.shape[1]} tokens must be of one")
        expected = len(self.unet.down_blocks) + 1
        if pose_features is not None and len(pose_features) != expected:
            raise ValueError(
                f"{len(pose_features)} pose features given, but {expected - 1} levels take {expected}: "
                "one for the input and one per level"
            )
        if reference_features is not None:
            self._check_names(reference_features)

    def _check_names(self, reference_features: ReferenceFeatures) -> None:
        missing = [name for name in self.reference_names if name not in reference_features]
        if missing:
            raise ValueError(
                f"reference_features lack {missing[0]} and {len(missing) - 1} more: "
                "ReferenceNet and denoising UNet must have the same levels and layers"
            )


def _motion_block(kind: str) -> str:
    return kind.removesuffix("2D") + "Motion"


def _blocks(unet: UNet2DConditionModel | UNetMotionModel) -> list[Any]:
    return [*unet.down_blocks, unet.mid_block, *unet.up_blocks]
