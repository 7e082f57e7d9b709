"""The table tells right from wrong, and one bad fixture does not silence the others."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from comparison import Check, difference, share_that_differs
from drawn_weights import drawn_tensor
from golden import find_goldens
from parity_table import main, rows
from safetensors.torch import load_file, save_file

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


def test_each_broken_fixture_is_one_failed_row_with_its_reason(tmp_path):
    for name, config in {
        "no_json": "{",
        "no_kind": "{}",
        "no_weights": '{"kind": "audio2mesh", "model": {"latent_dim": 4}, "wav2vec2": {}}',
        "no_cases": '{"kind": "scheduler", "infer": {}, "train": {}}',
        "other_unet": '{"kind": "denoising_unet", "unet": {"act_fn": "gelu"}}',
    }.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(config)
    (tmp_path / "no_config").mkdir()
    np.savez(tmp_path / "no_config/arrays.npz", x=np.zeros(1))
    for golden in find_goldens(tmp_path):
        if golden.name == "no_weights":  # a network of wav2vec2's own size takes seconds to build
            golden.config["wav2vec2"] = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
            golden.config["wav2vec2"]["conv_dim"] = [8] * 7
        *_, last = rows(golden)
        assert isinstance(last, Check)
        assert not last.passed, golden.name
        assert last.remark, golden.name


@pytest.mark.shared
def test_one_changed_weight_fails_and_says_so(shared, tmp_path):
    source, copy = shared / "parity/pose_guider", tmp_path / "pose_guider"
    copy.mkdir()
    for file in ("config.json", "io.safetensors"):
        (copy / file).write_bytes((source / file).read_bytes())
    weights = load_file(source / "weights.safetensors")
    weights["conv_layers.0.weight"][0, 0, 0, 0] += 0.05
    save_file(weights, copy / "weights.safetensors")
    (golden,) = find_goldens(tmp_path)
    assert [row.passed for row in rows(golden) if isinstance(row, Check)].count(True) == 0


def test_outputs_that_nothing_reads_are_listed(tmp_path):
    fixture_of_windows(tmp_path / "context", WINDOWS)
    save_file({"out.more": torch.ones(1)}, tmp_path / "context/io.safetensors")
    (golden,) = find_goldens(tmp_path)
    assert "more" in list(rows(golden))[-1].reason


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
