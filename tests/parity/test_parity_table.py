"""The table tells right from wrong, and one bad fixture does not silence the others."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from comparison import Check, Skipped, difference, share_that_differs
from drawn_weights import drawn_tensor
from golden import find_goldens
from parity_table import main, rows
from published import reference_net
from safetensors.torch import save_file

from aniportrait.checkpoints.convert import reference_net_to_published

# 6 frames, windows of 4 that share 2, wrapping onto the first frames
WINDOWS = [[0, 1, 2, 3], [2, 3, 4, 5], [4, 5, 0, 1]]


def fixture_of_windows(folder: Path, windows: list[list[int]], kind: str = "context") -> None:
    case = {"num_frames": 6, "context_size": 4, "context_overlap": 2, "context_stride": 1, "step": 0}
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"kind": kind}))
    recorded = {"cases": [{**case, "closed_loop": True, "queue": windows}]}
    (folder / "cases.json").write_text(json.dumps(recorded))


def test_the_command_says_what_passes_fails_and_is_not_covered(tmp_path, capsys):
    fixture_of_windows(tmp_path / "any name" / "right", WINDOWS)
    fixture_of_windows(tmp_path / "unheard of", WINDOWS, kind="lip_reader")
    assert main([str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "any name/right" in shown
    assert "pass" in shown
    assert "not covered: kind lip_reader" in shown
    fixture_of_windows(tmp_path / "wrong", [*WINDOWS[:2], [4, 5, 1, 0]])
    assert main([str(tmp_path)]) == 1
    shown = capsys.readouterr().out
    assert [line.split()[0] for line in shown.splitlines() if "FAIL" in line] == ["wrong", "wrong"]
    assert "num_frames 6" in shown


def test_a_folder_without_fixtures_is_an_error(tmp_path, capsys):
    assert main([str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


SOUND = {
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "num_conv_pos_embedding_groups": 1,
}
AUDIO2MESH = {"kind": "audio2mesh", "model": {"latent_dim": 4}, "wav2vec2": SOUND | {"conv_dim": [8] * 7}}
UNET = {
    "block_out_channels": [8, 8],
    "layers_per_block": 1,
    "cross_attention_dim": 4,
    "attention_head_dim": 2,
}
UNET |= {"in_channels": 2, "norm_num_groups": 4, "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"]}
OTHER_MOTION = UNET | {"use_motion_module": True, "motion_module_type": "Temporal"}
NOTHING = "ValueError: it holds no case that could be compared"


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({}, "ValueError: config.json says no kind"),
        (
            AUDIO2MESH,
            "ValueError: neither weights.safetensors nor a weights_seed in config.json says the weights",
        ),
        (AUDIO2MESH | {"weights_seed": 1}, NOTHING),
        ({"kind": "reference_unet", "unet": UNET, "weights_seed": 1}, NOTHING),
        ({"kind": "context"}, NOTHING),
        (
            {"kind": "scheduler", "infer": {}, "train": {}},
            "ValueError: the fixture lacks out.infer.alphas_cumprod",
        ),
        (
            {"kind": "scheduler", "infer": {"clip_sample": True}},
            "ValueError: clip_sample (True) must be False: our schedule has no other",
        ),
        (
            {"kind": "reference_unet", "unet": UNET | {"act_fn": "gelu"}},
            "ValueError: act_fn (gelu) must be silu: our networks have no other",
        ),
        (
            {"kind": "denoising_unet", "unet": OTHER_MOTION},
            "ValueError: motion_module_type (Temporal) must be Vanilla: our networks have no other",
        ),
        (
            AUDIO2MESH | {"model": {"latent_dim": 4, "only_last_fetures": False}},
            "ValueError: only_last_fetures (False) must be True: our networks have no other",
        ),
        (
            {"kind": "reference_unet", "unet": UNET | {"down_block_types": ["DownBlock2D"] * 2}},
            "ValueError: down_block_types ['DownBlock2D', 'DownBlock2D'] must attend at every level but the last",
        ),
        (
            {"kind": "reference_control"},
            "ValueError: config.json names no reference weights, and 0 fixtures are a reference_unet",
        ),
    ],
)
def test_a_broken_fixture_is_one_failed_row_with_its_reason(tmp_path, config, said):
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "cases.json").write_text('{"cases": []}')
    (tmp_path / "beside").mkdir()
    (tmp_path / "beside/config.json").write_text("{")
    golden, beside = find_goldens(tmp_path)
    (row,) = rows(golden)
    assert isinstance(row, Check)
    assert (row.passed, row.remark) == (False, said)
    (row,) = rows(beside)
    assert isinstance(row, Check)
    assert not row.passed
    assert row.remark.startswith("JSONDecodeError: Expecting property name")


def test_a_fixture_without_config_is_a_failed_row(tmp_path):
    np.savez(tmp_path / "arrays.npz", x=np.zeros(1))
    (golden,) = find_goldens(tmp_path)
    (row,) = rows(golden)
    assert isinstance(row, Check)
    assert not row.passed
    assert row.remark == f"FileNotFoundError: [Errno 2] No such file or directory: '{tmp_path}/config.json'"


def test_one_changed_weight_fails_and_says_so(tmp_path, capsys):
    """A fixture of our own making: it passes with its weights, and not with one of them changed."""
    (tmp_path / "config.json").write_text(
        json.dumps({"kind": "reference_unet", "unet": UNET, "weights_seed": 3})
    )
    (golden,) = find_goldens(tmp_path)
    torch.manual_seed(0)
    net = reference_net(golden)
    weights = reference_net_to_published(net.state_dict())
    inputs = {"sample": torch.randn(1, 2, 8, 8), "timestep": torch.tensor([5])}
    inputs["encoder_hidden_states"] = torch.randn(1, 1, 4)
    with torch.no_grad():
        output = net.unet(*inputs.values()).sample
    tensors = {f"in.a.{name}": value for name, value in inputs.items()} | {"out.a.sample": output}
    save_file(tensors, tmp_path / "io.safetensors")
    save_file(weights, tmp_path / "weights.safetensors")
    assert main([str(tmp_path)]) == 0
    assert capsys.readouterr().out.endswith("1 of 1 comparisons pass\n")
    weights["conv_in.weight"][0, 0, 1, 1] += 0.01
    save_file(weights, tmp_path / "weights.safetensors")
    assert main([str(tmp_path)]) == 1
    _, row, last = capsys.readouterr().out.splitlines()
    assert row.split()[-1] == "FAIL"
    assert 1e-4 < float(row.split()[2]) < 1
    assert last == "0 of 1 comparisons pass"


def test_outputs_that_nothing_reads_are_listed(tmp_path):
    fixture_of_windows(tmp_path / "context", WINDOWS)
    save_file({"out.more": torch.ones(1)}, tmp_path / "context/io.safetensors")
    (golden,) = find_goldens(tmp_path)
    assert list(rows(golden))[-1] == Skipped("1 other outputs", "not covered: more")


def test_differences_are_relative_to_the_largest_of_theirs():
    assert difference(torch.tensor([1.0, 2.5]), torch.tensor([1.0, 2.0])) == 0.25
    assert difference(torch.tensor([0.5]), torch.tensor([0.0])) == 0.5
    assert not Check("", difference(torch.tensor([1.0, torch.nan]), torch.ones(2))).passed
    with pytest.raises(ValueError, match=r"\(1,\)"):
        difference(torch.ones(1), torch.ones(1, 1))
    assert share_that_differs([1, 2, 3], [1, 2]) == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("key", "shape", "centre", "spread"),
    [
        ("block.norm.weight", (4096,), 1.0, 0.1),
        ("block.conv.weight", (64, 16, 2, 2), 0.0, 1 / 8),
        ("block.in_proj_bias", (4096,), 0.0, 0.05),
        ("block.embedding", (4096,), 0.0, 0.5),
        ("scale", (4096,), 1.5, 0.1),
    ],
)
def test_drawn_weights_have_the_mean_and_spread_of_their_kind(key, shape, centre, spread):
    weight = drawn_tensor(key, shape, seed=7)
    assert float(weight.mean()) == pytest.approx(centre, abs=spread / 15)
    assert float(weight.std()) == pytest.approx(spread, rel=0.05)
    assert torch.equal(weight, weight.half().float())
    assert torch.equal(weight, drawn_tensor(key, shape, seed=7))
    assert not torch.equal(weight, drawn_tensor(key, shape, seed=8))


def test_variances_are_drawn_above_one():
    assert float(drawn_tensor("norm.running_var", (1000,), seed=1).min()) >= 1.0
