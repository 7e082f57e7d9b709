"""Published files and our networks correspond tensor by tensor, both ways; what does not fit is named."""

import json

import pytest
import torch
from published_folder import (
    CHANNELS,
    IDENTITIES,
    LATENT_DIM,
    motion_module,
    pose_guider,
    write_published_folder,
)
from safetensors.torch import save_file

from aniportrait.checkpoints.published import (
    FILES,
    Found,
    checked_sizes,
    find_published,
    own_positions,
    to_ours,
    write_published,
)
from aniportrait.checkpoints.published_configs import read_unsaid
from aniportrait.checkpoints.published_sizes import Unsaid
from aniportrait.checkpoints.tensor_files import WeightsError, read_tensors
from aniportrait.models.denoising_unet import DenoisingUNet


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_published_folder(tmp_path_factory.mktemp("published") / "pretrained_model")


@pytest.fixture(scope="module")
def unsaid(folder):
    return read_unsaid(folder, {"pose_guider_heads": 4})[0]


@pytest.fixture(scope="module")
def found(folder):
    return find_published(folder)


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(value, other[key]) for key, value in one.items())


@pytest.mark.parametrize("network", FILES)
def test_published_to_ours_to_published_is_the_file_bit_for_bit(network, found, unsaid, tmp_path):
    sizes = checked_sizes(network, found[network], unsaid)
    file = write_published(tmp_path, network, to_ours(network, found[network]), sizes)
    theirs, back = dict(found[network].state), dict(read_tensors(file))
    for key in [key for key in theirs if ".multihead_attn.in_proj_" in key]:
        # Queries and keys of a softmax over one key cannot matter: they come back as zeros.
        assert torch.equal(theirs.pop(key).chunk(3)[2], back.pop(key).chunk(3)[2])
    for key in [key for key in theirs if key.endswith((".pe",))]:
        assert torch.allclose(theirs.pop(key), back.pop(key), atol=1e-5)
    assert same(theirs, back)


@pytest.mark.parametrize("network", FILES)
def test_ours_to_published_to_ours_is_the_identity(network, found, unsaid, tmp_path):
    ours = to_ours(network, found[network])
    write_published(tmp_path, network, ours, checked_sizes(network, found[network], unsaid))
    again = find_published(tmp_path)[network]
    assert same(ours, to_ours(network, again))


def test_sizes_are_read_off_the_tensors(found, unsaid):
    sizes = {network: checked_sizes(network, found[network], unsaid) for network in FILES}
    assert sizes["denoising_unet"] == sizes["reference_net"]
    assert tuple(sizes["denoising_unet"]["block_out_channels"]) == CHANNELS
    assert sizes["denoising_unet"]["attention_head_dim"] == 4
    assert sizes["motion_module"] == {
        "motion_max_seq_length": 32,
        "motion_num_attention_heads": 8,
        "motion_norm_num_groups": 32,
    }
    assert sizes["pose_guider"]["attention_head_dim"] == 8
    assert (sizes["audio2pose"]["identities"], sizes["audio2pose"]["latent_dim"]) == (IDENTITIES, LATENT_DIM)
    assert sizes["audio2mesh"]["encoder"]["config"]["num_attention_heads"] == 2


def test_the_image_size_comes_from_the_unet_s_config(folder, tmp_path):
    assert read_unsaid(folder, {})[1] == 64
    assert read_unsaid(tmp_path, {}) == (Unsaid(), 512)


def test_every_kind_of_misfit_is_named_in_published_names(found, unsaid):
    state = dict(found["reference_net"].state)
    del state["conv_in.bias"]
    state["mid_block.more"] = torch.zeros(1)
    state["time_embedding.linear_1.weight"] = torch.zeros(2, 2)
    with pytest.raises(WeightsError) as error:
        checked_sizes("reference_net", Found(found["reference_net"].file, state), unsaid)
    for words in (
        "reference_unet.pth",
        "missing conv_in.bias",
        "unexpected mid_block.more",
        "linear_1.weight is (2, 2)",
    ):
        assert words in str(error.value)


def test_a_long_list_of_misfits_is_counted(found, unsaid):
    state = {k: v for k, v in found["denoising_unet"].state.items() if not k.startswith("up_blocks.1.")}
    with pytest.raises(WeightsError, match=r"missing up_blocks.1.*; and \d+ more"):
        checked_sizes("denoising_unet", Found(found["denoising_unet"].file, state), unsaid)


def test_a_file_of_something_else_lacks_the_first_thing_looked_for(tmp_path):
    torch.save({"weight": torch.zeros(1)}, tmp_path / "audio2pose.pt")
    with pytest.raises(WeightsError, match=r"audio2pose.pt does not fit: it has no id_embed.weight"):
        checked_sizes("audio2pose", find_published(tmp_path)["audio2pose"], Unsaid())


def test_heads_that_do_not_divide_a_width_are_named(found):
    with pytest.raises(WeightsError, match=r"attention_head_dim \(7.*must divide every width, not 32"):
        checked_sizes("denoising_unet", found["denoising_unet"], Unsaid(unet_heads=7, norm_num_groups=16))


def test_stable_diffusion_s_head_is_ignored_in_a_reference_net(found, unsaid):
    head = {
        k: v
        for k, v in found["denoising_unet"].state.items()
        if k.startswith(("conv_out.", "conv_norm_out."))
    }
    whole = Found(found["reference_net"].file, dict(found["reference_net"].state) | head)
    checked_sizes("reference_net", whole, unsaid)
    assert same(to_ours("reference_net", whole), to_ours("reference_net", found["reference_net"]))


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("name", ["motion_module.pth", "mm_sd_v15_v2.ckpt", "motion_module.safetensors"])
def test_animatediff_s_motion_modules_are_read_from_any_of_its_files(prefix, name, tmp_path):
    state = motion_module()
    stored = {f"{prefix}{key}": value for key, value in state.items()}
    if name.endswith(".safetensors"):
        save_file(stored, tmp_path / name)
    else:
        torch.save({"state_dict": stored} if name.endswith(".ckpt") else stored, tmp_path / name)
    found = find_published(tmp_path)["motion_module"]
    sizes = checked_sizes("motion_module", found, Unsaid())
    unet = DenoisingUNet(
        block_out_channels=CHANNELS, layers_per_block=1, attention_head_dim=4, norm_num_groups=16
    )
    own = unet.with_motion(**sizes).state_dict()
    ours = to_ours("motion_module", found)
    assert {k: v.shape for k, v in ours.items()} == {
        k: v.shape for k, v in own.items() if "motion_modules" in k
    }
    key = "mid_block.motion_modules.0.{}transformer_blocks.0.{}.weight"
    theirs = state[key.format("temporal_transformer.", "attention_blocks.1.to_k")]
    assert torch.equal(ours["unet." + key.format("", "attn2.to_k")], theirs)


def test_animatediff_v1_which_has_no_middle_is_refused_by_key(tmp_path):
    state = {key: value for key, value in motion_module(frames=24).items() if "mid_block" not in key}
    torch.save(state, tmp_path / "motion_module.pth")
    with pytest.raises(WeightsError, match=r"missing mid_block.motion_modules.0.temporal_transformer"):
        checked_sizes("motion_module", find_published(tmp_path)["motion_module"], Unsaid())


def test_motion_modules_inside_the_denoising_unet_count_more_than_their_own_file(folder, tmp_path):
    torch.manual_seed(5)
    inside, own = motion_module(), motion_module()
    whole = dict(read_tensors(folder / "denoising_unet.pth")) | inside
    torch.save(whole, tmp_path / "denoising_unet.pth")
    torch.save(own, tmp_path / "motion_module.pth")
    found = find_published(tmp_path)
    assert same(dict(found["motion_module"].state), inside)
    assert not any("motion_modules" in key for key in found["denoising_unet"].state)
    assert same(dict(find_published(tmp_path, ["motion_module"])["motion_module"].state), inside)


def test_the_pose_guider_of_animate_anyone_is_refused_by_name(tmp_path):
    layers = {"conv_in": (16, 3), "conv_out": (320, 128)} | {f"blocks.{i}": (16, 16) for i in range(6)}
    state = {f"{name}.weight": torch.zeros(*shape, 3, 3) for name, shape in layers.items()}
    state |= {f"{name}.bias": torch.zeros(shape[0]) for name, shape in layers.items()}
    torch.save(state, tmp_path / "pose_guider.pth")
    with pytest.raises(WeightsError, match=r"is the PoseGuider of Moore-AnimateAnyone .* another network"):
        checked_sizes("pose_guider", find_published(tmp_path)["pose_guider"], Unsaid())


def test_weight_norm_is_read_in_both_spellings(found, unsaid, tmp_path):
    spelled = {
        key.replace(".weight_g", ".parametrizations.weight.original0").replace(
            ".weight_v", ".parametrizations.weight.original1"
        ): value
        for key, value in found["audio2mesh"].state.items()
    }
    assert spelled.keys() != found["audio2mesh"].state.keys()
    ours = to_ours("audio2mesh", found["audio2mesh"])
    torch.save(spelled, tmp_path / "audio2mesh.pt")
    again = find_published(tmp_path)["audio2mesh"]
    assert checked_sizes("audio2mesh", again, unsaid) == checked_sizes(
        "audio2mesh", found["audio2mesh"], unsaid
    )
    assert same(ours, to_ours("audio2mesh", again))


def test_positions_other_than_sines_are_noticed(found):
    state = motion_module()
    assert own_positions(Found(found["motion_module"].file, state)) == []
    key = "mid_block.motion_modules.0.temporal_transformer.transformer_blocks.0.attention_blocks.1.pos_encoder.pe"
    state[key] = state[key] + 1
    assert own_positions(Found(found["motion_module"].file, state)) == [key]
    state[key] = state[key][0]
    assert own_positions(Found(found["motion_module"].file, state)) == [key]


@pytest.mark.parametrize("number", [{"unet_heads": [5, 10]}, {"norm_num_groups": 0}, {"conv_stride": 5}])
def test_numbers_that_cannot_be_are_named(number):
    with pytest.raises(WeightsError, match=rf"{next(iter(number))} .* must be of whole numbers"):
        Unsaid(**number)


def test_half_a_file_is_damaged_and_not_a_danger(folder, tmp_path):
    half = (folder / "audio2mesh.pt").read_bytes()
    (tmp_path / "audio2mesh.pt").write_bytes(half[: len(half) // 2])
    with pytest.raises(WeightsError, match=r"audio2mesh.pt is damaged or incomplete"):
        find_published(tmp_path)


def test_half_precision_stays_as_stored(tmp_path):
    half = find_published(write_published_folder(tmp_path / "half", dtype=torch.float16))
    for network in FILES:
        ours = to_ours(network, half[network])
        assert {value.dtype for value in ours.values() if value.is_floating_point()} == {torch.float16}


class Payload:
    def __reduce__(self):
        return (open, ("executed", "w"))


def test_a_file_that_would_execute_something_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"in_fn.weight": Payload()}, tmp_path / "audio2mesh.pt")
    with pytest.raises(WeightsError, match=r"audio2mesh.pt cannot be loaded without unpickling.*refused"):
        find_published(tmp_path)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("content", [[1, 2], {"a": 1}, torch.zeros(2)], ids=["a list", "numbers", "a tensor"])
def test_a_pickle_that_is_no_dict_of_tensors_is_refused(content, tmp_path):
    torch.save(content, tmp_path / "audio2mesh.pt")
    with pytest.raises(WeightsError, match=r"audio2mesh.pt is no file of named tensors"):
        find_published(tmp_path)


def test_a_config_that_is_no_json_is_named(tmp_path):
    file = tmp_path / "wav2vec2-base-960h" / "config.json"
    file.parent.mkdir()
    file.write_text("{")
    with pytest.raises(WeightsError, match=r"config.json is no json"):
        read_unsaid(tmp_path, {})
    file.write_text(json.dumps({"do_stable_layer_norm": True}))
    with pytest.raises(WeightsError, match=r"do_stable_layer_norm"):
        read_unsaid(tmp_path, {})


def test_the_pose_guider_has_the_heads_it_is_given():
    state = pose_guider()
    for heads in (2, 4, 16):
        sizes = checked_sizes("pose_guider", Found(None, state), Unsaid(pose_guider_heads=heads))
        assert (sizes["attention_heads"], sizes["attention_head_dim"]) == (heads, 32 // heads)
    with pytest.raises(WeightsError, match=r"32 wide, which 5 heads do not divide"):
        checked_sizes("pose_guider", Found(None, state), Unsaid(pose_guider_heads=5))
