"""ReferenceNet, the denoising UNet, and the two together, against the original's."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from comparison import Check, difference, worst
from einops import rearrange
from golden import Golden, network_of
from published import denoising_unet, reference_net
from torch import Tensor, nn

from aniportrait.diffusion.guidance import GuidedDenoiser
from aniportrait.models.denoising_unet import DenoisingUNet

GUIDANCE_SCALE = 3.5  # the original's default


def check_reference_unet(golden: Golden) -> Iterator[Check]:
    """What is recorded at time 0; the whole UNet at any time, and block by block."""
    net = reference_net(golden)
    for case in golden.cases("sample"):
        sample, embeds = golden.input(f"{case}.sample"), golden.input(f"{case}.encoder_hidden_states")
        names = golden.outputs(f"{case}.bank.")
        if names:
            features = {name.removesuffix(".attn1"): value for name, value in net(sample, embeds).items()}
            if features.keys() != set(names):
                raise ValueError(f"{case}: {len(features)} features recorded, the original has {len(names)}")
            pairs = ((features[name], golden.output(f"{case}.bank.{name}")) for name in names)
            yield Check(f"{case}, recorded features", worst(pairs))
        with _outputs_of(net.unet, golden.outputs(f"{case}.feat.")) as seen:
            output = net.unet(sample, golden.input(f"{case}.timestep"), embeds).sample
        if seen:
            yield Check(f"{case}, {len(seen)} blocks", _worst_block(golden, case, seen))
        yield Check(case, difference(output, golden.output(f"{case}.sample")))


def check_denoising_unet(golden: Golden) -> Iterator[Check]:
    """Predictions with and without landmarks, and block by block without."""
    net = denoising_unet(golden)
    for case in golden.cases("sample"):
        inputs = (
            _frames_second(golden.input(f"{case}.sample")),
            golden.input(f"{case}.timestep"),
            golden.input(f"{case}.encoder_hidden_states"),
        )
        for variant in ("pose", "nopose"):
            if variant in golden.outputs(f"{case}."):
                prediction = net(*inputs, _pose_features(golden, case) if variant == "pose" else None)
                theirs = _frames_second(golden.output(f"{case}.{variant}"))
                yield Check(f"{case}, {variant}", difference(prediction, theirs))
        blocks = golden.outputs(f"{case}.feat.")
        if blocks:
            with _outputs_of(net.unet, blocks) as seen:
                net(*inputs)
            yield Check(f"{case}, {len(seen)} blocks", _worst_block(golden, case, seen))


def check_reference_control(golden: Golden) -> Iterator[Check]:
    """The denoiser beside a portrait: with guidance where twice as many rows come out as go in."""
    reference = reference_net(network_of(golden, "reference", "reference_unet"))
    denoiser = denoising_unet(network_of(golden, "denoising", "denoising_unet"))
    cases = sorted(golden.cases("sample"), key=len)
    for name in golden.outputs():
        case = next(case for case in reversed(cases) if name == case or name.startswith(f"{case}_"))
        variant = name.removeprefix(case)
        if variant not in ("", "_bank16", "_emptybank"):
            continue
        theirs = _frames_second(golden.output(name))
        latents = _frames_second(golden.input(f"{case}.sample"))
        embeds = golden.input(f"{case}.encoder_hidden_states")
        features = None
        if variant != "_emptybank":
            features = reference(golden.input(f"{case}.ref_latent"), embeds[-len(latents) :])
        if features is not None and variant == "_bank16":
            features = {key: value.half().float() for key, value in features.items()}
        inputs = (latents, golden.input(f"{case}.timestep"), embeds, _pose_features(golden, case), features)
        if len(theirs) == len(latents):
            yield Check(name, difference(denoiser(*inputs), theirs))
        else:
            yield Check(f"{name}, one batch", difference(_both_in_one_batch(denoiser, *inputs), theirs))
            unconditional, conditional = theirs.chunk(2)
            guide = GuidedDenoiser(
                denoiser,
                pose_features=inputs[3],
                image_embeds=embeds[-len(latents) :],
                reference_features=features,
                guidance_scale=GUIDANCE_SCALE,
            )
            guided = guide(latents, int(inputs[1].flatten()[-1]), torch.arange(latents.shape[1]))
            expected = unconditional + GUIDANCE_SCALE * (conditional - unconditional)
            yield Check(f"{name}, guidance {GUIDANCE_SCALE}", difference(guided, expected))


def _both_in_one_batch(
    denoiser: DenoisingUNet,
    latents: Tensor,
    timesteps: Tensor,
    embeds: Tensor,
    pose_features: tuple[Tensor, ...] | None,
    reference_features: dict[str, Tensor] | None,
) -> Tensor:
    """Unconditional rows, from which the portrait is hidden, before conditional ones."""

    def twice(tensor: Tensor) -> Tensor:
        return torch.cat([tensor, tensor])

    return denoiser(
        twice(latents),
        timesteps,
        embeds,
        pose_features and tuple(twice(feature) for feature in pose_features),
        reference_features and {name: twice(feature) for name, feature in reference_features.items()},
        torch.arange(2 * len(latents)) >= len(latents),
    )


def _pose_features(golden: Golden, case: str) -> tuple[Tensor, ...] | None:
    scales = sum(name.startswith(f"in.{case}.pose") for name in golden.tensors)
    return tuple(_frames_second(golden.input(f"{case}.pose{i}")) for i in range(scales)) or None


def _worst_block(golden: Golden, case: str, seen: dict[str, Tensor]) -> float:
    pairs = []
    for name, ours in seen.items():
        theirs = golden.output(f"{case}.feat.{name}")
        pairs.append((ours, rearrange(theirs, "b c f h w -> (b f) c h w") if theirs.ndim == 5 else theirs))
    return worst(pairs)


@contextmanager
def _outputs_of(net: nn.Module, names: list[str]) -> Iterator[dict[str, Tensor]]:
    """Fills a dict with what the named modules give while the context is open."""
    seen: dict[str, Tensor] = {}
    hooks = [net.get_submodule(name).register_forward_hook(partial(_keep, seen, name)) for name in names]
    yield seen
    for hook in hooks:
        hook.remove()
    if silent := [name for name in names if name not in seen]:
        raise ValueError(f"of {len(names)} blocks of the original, ours never ran {', '.join(silent)}")


def _keep(seen: dict[str, Tensor], name: str, module: nn.Module, inputs: object, output: object) -> None:
    seen[name] = output[0] if isinstance(output, tuple) else output


def _frames_second(tensor: Tensor) -> Tensor:
    return rearrange(tensor, "b c f h w -> b f c h w")
