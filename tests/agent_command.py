"""The command by which W&B's agent starts a run of experiments/wandb_sweep.yaml."""

from pathlib import Path

import pytest
import yaml

SWEEP = Path(__file__).parents[1] / "experiments" / "wandb_sweep.yaml"


def agent_command(chosen: dict[str, object]) -> list[str]:
    """What W&B's own agent makes of SWEEP for these parameters, without the network."""
    sweeps = pytest.importorskip("wandb.sdk.launch.sweeps.utils", reason="wandb is not installed")
    sweep = yaml.safe_load(SWEEP.read_text())
    arguments = {name: {"value": value} for name, value in chosen.items()}
    variables = sweeps.create_sweep_command_args({"args": arguments})
    variables |= {"env": ["/usr/bin/env"], "program": [sweep["program"]]}
    words: list[str] = []
    for word in sweeps.create_sweep_command(list(sweep["command"])):
        words += variables[word[2:-1]] if word.startswith("${") else [word]
    return words
