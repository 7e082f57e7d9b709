"""Our networks, given the original's weights, say what the original said."""

import json
from functools import partial

import numpy as np
import pytest
import torch
from einops import rearrange
from safetensors.torch import load_file

from aniportrait.checkpoints.convert import (
    denoising_unet_from_published,
    denoising_unet_to_published,
    reference_net_from_published,
    reference_net_to_published,
)
from aniportrait.diffusion.context import bit_reversed_fraction, closed_loop_indices
from aniportrait.diffusion.guidance import guided_prediction
from aniportrait.diffusion.noise_schedule import build_scheduler
from aniportrait.diffusion.objective import min_snr_weights
from aniportrait.models.denoising_unet import DenoisingUNet
from aniportrait.models.pose_guider import PublishedPoseGuider
from aniportrait.models.reference_net import ReferenceNet

pytestmark = pytest.mark.shared

BOUND = 1e-5  # of the tensor's maximum


def fixture(shared, name):
    folder = shared / "parity" / name
    config = json.loads((folder / "config.json").read_text())
    return config, load_file(folder / "io.safetensors")


def weights(shared, name):
    file = shared / "parity" / name / "weights.safetensors"
    return {key: value.float() for key, value in load_file(file).items()}


def unet_sizes(config):
    wanted = ("block_out_channels", "layers_per_block", "cross_attention_dim", "attention_head_dim")
    return {key: config[key] for key in (*wanted, "in_channels", "norm_num_groups")}


@pytest.fixture(scope="module")
def reference_net(shared):
    config, _ = fixture(shared, "reference_unet")
    net = ReferenceNet(**unet_sizes(config["unet"])).eval()
    net.load_state_dict(reference_net_from_published(weights(shared, "reference_unet")))
    return net


@pytest.fixture(scope="module")
def denoising_unet(shared):
    config, _ = fixture(shared, "denoising_unet")
    motion = config["unet"]["motion_module_kwargs"]
    net = DenoisingUNet(**unet_sizes(config["unet"])).with_motion(
        motion["temporal_position_encoding_max_len"], motion["num_attention_heads"]
    )
    net.load_state_dict(denoising_unet_from_published(weights(shared, "denoising_unet")))
    return net.eval()


def frames_second(tensor):
    return rearrange(tensor, "b c f h w -> b f c h w")


def pose_of(tensors, case):
    if f"in.{case}.pose0" not in tensors:
        return None
    return tuple(frames_second(tensors[f"in.{case}.pose{i}"]) for i in range(5))


def difference(ours, theirs):
    return float((ours.detach() - theirs).abs().max() / theirs.abs().max())


@pytest.mark.parametrize("case", ["sq", "rect"])
def test_reference_net_hands_out_what_the_original_recorded(shared, reference_net, case):
    _, tensors = fixture(shared, "reference_unet")
    features = reference_net(tensors[f"in.{case}.sample"], tensors[f"in.{case}.encoder_hidden_states"])
    start = f"out.{case}.bank."
    recorded = {key.removeprefix(start): value for key, value in tensors.items() if key.startswith(start)}
    assert {name.removesuffix(".attn1") for name in features} == set(recorded)
    worst = max(difference(features[f"{name}.attn1"], value) for name, value in recorded.items())
    assert worst < BOUND


@pytest.mark.parametrize("case", ["sq", "rect", "t"])
def test_reference_net_runs_as_the_original_to_its_last_block(shared, reference_net, case):
    _, tensors = fixture(shared, "reference_unet")
    inputs = (tensors[f"in.{case}.{name}"] for name in ("sample", "timestep", "encoder_hidden_states"))
    worst = difference(reference_net.unet(*inputs).sample, tensors[f"out.{case}.sample"])
    assert worst < BOUND


@pytest.mark.parametrize(
    ("case", "variant"),
    [("a", "pose"), ("a", "nopose"), ("rect", "pose"), ("rect", "nopose"), ("long", "nopose")],
)
def test_denoising_unet_predicts_what_the_original_predicted(shared, denoising_unet, case, variant):
    _, tensors = fixture(shared, "denoising_unet")
    with torch.no_grad():
        prediction = denoising_unet(
            frames_second(tensors[f"in.{case}.sample"]),
            tensors[f"in.{case}.timestep"],
            tensors[f"in.{case}.encoder_hidden_states"],
            pose_of(tensors, case) if variant == "pose" else None,
        )
    worst = difference(prediction, frames_second(tensors[f"out.{case}.{variant}"]))
    assert worst < BOUND


def test_the_blocks_of_the_denoising_unet_agree_one_by_one(shared, denoising_unet):
    _, tensors = fixture(shared, "denoising_unet")
    net, seen = denoising_unet, {}
    hooks = [
        module.register_forward_hook(partial(_keep_output, seen, name))
        for name, module in net.unet.named_modules()
        if f"out.a.feat.{name}" in tensors
    ]
    assert len(hooks) == 11
    with torch.no_grad():
        net(
            frames_second(tensors["in.a.sample"]),
            tensors["in.a.timestep"],
            tensors["in.a.encoder_hidden_states"],
        )
    for name, value in seen.items():
        theirs = tensors[f"out.a.feat.{name}"]
        if theirs.ndim == 5:
            theirs = rearrange(theirs, "b c f h w -> (b f) c h w")
        assert difference(value[: len(theirs)], theirs) < BOUND, name


def _keep_output(seen, name, module, inputs, output):
    seen[name] = output[0] if isinstance(output, tuple) else output


@pytest.mark.parametrize(
    ("case", "rounded"),
    [
        ("cfg", False),
        ("cfg", True),
        ("nocfg", False),
        ("nocfg", True),
        ("batch2", False),
        ("batch2_emptybank", False),
    ],
)
def test_the_denoiser_attends_to_the_portrait_as_the_original(
    shared, reference_net, denoising_unet, case, rounded
):
    _, tensors = fixture(shared, "reference_control")
    output = f"out.{case}_bank16" if rounded else f"out.{case}"
    given = case.removesuffix("_emptybank")
    embeds = tensors[f"in.{given}.encoder_hidden_states"]
    sample = frames_second(tensors[f"in.{given}.sample"])
    pose = pose_of(tensors, given)
    features = reference_net(tensors[f"in.{given}.ref_latent"], embeds[-len(sample) :])
    if rounded:
        features = {name: value.half().float() for name, value in features.items()}
    with torch.no_grad():
        if case == "cfg":
            both = [
                denoising_unet(sample, tensors["in.cfg.timestep"], None, pose, None),
                denoising_unet(sample, tensors["in.cfg.timestep"], embeds[1:], pose, features),
            ]
            prediction = torch.cat(both)
        else:
            known = None if case.endswith("emptybank") else features
            prediction = denoising_unet(sample, tensors[f"in.{given}.timestep"], embeds, pose, known)
    worst = difference(prediction, frames_second(tensors[output]))
    assert worst < BOUND


def test_one_batch_with_a_hidden_portrait_is_the_original_s_guidance_batch(
    shared, reference_net, denoising_unet
):
    _, tensors = fixture(shared, "reference_control")
    embeds = tensors["in.cfg.encoder_hidden_states"]
    features = reference_net(tensors["in.cfg.ref_latent"], embeds[1:])
    with torch.no_grad():
        prediction = denoising_unet(
            frames_second(tensors["in.cfg.sample"]).repeat(2, 1, 1, 1, 1),
            tensors["in.cfg.timestep"],
            embeds,
            tuple(p.repeat(2, 1, 1, 1, 1) for p in pose_of(tensors, "cfg")),
            {name: value.repeat(2, 1, 1) for name, value in features.items()},
            torch.tensor([False, True]),
        )
    assert difference(prediction, frames_second(tensors["out.cfg"])) < BOUND


def test_guidance_combines_the_original_s_two_predictions(shared, reference_net, denoising_unet):
    _, tensors = fixture(shared, "reference_control")
    embeds = tensors["in.cfg.encoder_hidden_states"]
    theirs = frames_second(tensors["out.cfg"])
    with torch.no_grad():
        guided = guided_prediction(
            denoising_unet,
            frames_second(tensors["in.cfg.sample"]),
            tensors["in.cfg.timestep"],
            image_embeds=embeds[1:],
            pose_features=pose_of(tensors, "cfg"),
            reference_features=reference_net(tensors["in.cfg.ref_latent"], embeds[1:]),
            guidance_scale=3.5,
        )
    assert difference(guided, theirs[:1] + 3.5 * (theirs[1:] - theirs[:1])) < 1e-4


def pose_guider(shared, state, **kwargs):
    channels = [
        state[f"conv_layers_{level}.{0 if level == 4 else 3}.weight"].shape[0] for level in (1, 2, 3, 4)
    ]
    config, _ = fixture(shared, "pose_guider")
    return PublishedPoseGuider(channels, config["cross_attn_heads"], config["cross_attn_dim_head"], **kwargs)


@pytest.mark.parametrize(
    ("case", "kwargs"),
    [
        ("ca", {"statistics": "running"}),
        ("noca", {"statistics": "running", "attend": False}),
        ("train", {"statistics": "batch"}),
    ],
)
def test_published_pose_guider_gives_the_original_s_features(shared, case, kwargs):
    _, tensors = fixture(shared, "pose_guider")
    state = weights(shared, "pose_guider")
    guider = pose_guider(shared, state, **kwargs).eval()
    own = {key for key in state if kwargs.get("attend", True) or not key.startswith("cross_attn")}
    guider.load_state_dict({key: state[key] for key in own})
    with torch.no_grad():
        features = guider(frames_second(tensors["in.pose"]), tensors["in.ref_pose"])
    worst = [
        difference(feature, frames_second(tensors[f"out.{case}.{i}"])) for i, feature in enumerate(features)
    ]
    # the original differs from itself by 4e-5 at the deepest level (1 and 2 threads)
    assert max(worst) < 1e-4


@pytest.mark.parametrize("statistics", ["batch", "running"])
def test_running_statistics_move_as_the_original_s_in_training(shared, statistics):
    _, tensors = fixture(shared, "pose_guider")
    state = weights(shared, "pose_guider")
    guider = pose_guider(shared, state, statistics=statistics).train()
    guider.load_state_dict(state)
    with torch.no_grad():
        guider(frames_second(tensors["in.pose"]))
        # the original's second pass, whose result it throws away, goes through the convolutions alone
        convolutions = pose_guider(shared, state, statistics=statistics, attend=False).train()
        convolutions.load_state_dict({k: v for k, v in guider.state_dict().items() if "attn" not in k})
        convolutions(tensors["in.ref_pose"][:, None])
    start = "out.train_stats."
    moved = {key.removeprefix(start): value for key, value in tensors.items() if key.startswith(start)}
    assert len(moved) == 30
    for key, value in moved.items():
        assert difference(convolutions.state_dict()[key], value) < 1e-4, key


def test_the_schedules_are_the_original_s(shared):
    folder = shared / "parity" / "scheduler"
    config, arrays = json.loads((folder / "config.json").read_text()), np.load(folder / "arrays.npz")
    for name in ("infer", "train"):
        wanted = {key: config[name][key] for key in ("beta_start", "beta_end", "beta_schedule")}
        scheduler = build_scheduler(**wanted, prediction_type=config[name]["prediction_type"])
        np.testing.assert_allclose(
            scheduler.alphas_cumprod.numpy(), arrays[f"out.{name}.alphas_cumprod"], rtol=0, atol=1e-7
        )
        for steps in (10, 20, 25, 30, 50):
            scheduler.set_timesteps(steps)
            np.testing.assert_array_equal(scheduler.timesteps.numpy(), arrays[f"out.timesteps.{steps}"])


def test_ten_steps_are_the_original_s(shared):
    arrays = np.load(shared / "parity" / "scheduler" / "arrays.npz")
    scheduler = build_scheduler(beta_schedule="linear")
    scheduler.set_timesteps(10)
    x = torch.from_numpy(arrays["in.x"])
    for i, timestep in enumerate(scheduler.timesteps):
        x = scheduler.step(torch.from_numpy(arrays[f"in.v{i}"]), int(timestep), x, eta=0.0).prev_sample
        np.testing.assert_allclose(x.numpy(), arrays[f"out.x{i}"], rtol=0, atol=1e-5)


def test_noise_velocity_and_weights_of_training_are_the_original_s(shared):
    arrays = np.load(shared / "parity" / "scheduler" / "arrays.npz")
    scheduler = build_scheduler(beta_schedule="scaled_linear")
    timesteps, latents, noise = (torch.from_numpy(arrays[f"in.{name}"]) for name in "tzn")
    for ours, name in (
        (scheduler.add_noise(latents, noise, timesteps), "noisy"),
        (scheduler.get_velocity(latents, noise, timesteps), "velocity"),
        (min_snr_weights(scheduler, timesteps, 5.0), "minsnr_weight_gamma5"),
    ):
        np.testing.assert_allclose(ours.numpy(), arrays[f"out.{name}"], rtol=1e-5, atol=1e-6)


def test_closed_loop_windows_are_the_original_s(shared):
    recorded = json.loads((shared / "parity" / "context" / "cases.json").read_text())
    for case in recorded["cases"]:
        windows = closed_loop_indices(
            case["num_frames"],
            case["context_size"],
            case["context_overlap"],
            strides=case["context_stride"],
            step=case["step"],
            closed=case["closed_loop"],
        )
        assert list(windows) == case["queue"], case
    for step, fraction in dict(recorded["ordered_halving"]).items():
        assert bit_reversed_fraction(int(step)) == fraction


def test_our_weights_go_back_to_the_published_names(shared, reference_net, denoising_unet):
    theirs = weights(shared, "denoising_unet")
    assert denoising_unet_to_published(denoising_unet.state_dict()).keys() == theirs.keys()
    assert (
        reference_net_to_published(reference_net.state_dict()).keys()
        == weights(shared, "reference_unet").keys()
    )


@pytest.mark.parametrize("file", ["reference_unet", "denoising_unet", "motion_module", "pose_guider"])
def test_every_key_of_a_published_file_has_its_place_in_our_full_size_networks(shared, file):
    listing = json.loads((shared / "reference" / "checkpoint_keys" / f"{file}.pth.json").read_text())
    with torch.device("meta"):
        if file == "pose_guider":
            theirs, own = dict(listing), PublishedPoseGuider().state_dict()
        elif file == "reference_unet":
            theirs, own = reference_net_from_published(listing), ReferenceNet().state_dict()
        else:
            theirs, own = denoising_unet_from_published(listing), DenoisingUNet().with_motion().state_dict()
            wanted = file == "motion_module"
            own = {key: value for key, value in own.items() if ("motion_modules" in key) == wanted}
    assert {key: list(value.shape) for key, value in own.items()} == theirs
