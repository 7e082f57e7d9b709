"""The curve of a run that goes on in its folder; whether W&B has a key."""

import csv

import pytest
import wandb
from lightning.pytorch.loggers import CSVLogger

from aniportrait.cli.run_log import _has_wandb_key, _wandb_mode, continue_csv


def logger(folder) -> CSVLogger:
    return CSVLogger(folder, name=None, version="csv", flush_logs_every_n_steps=10)


def rows(folder):
    with open(folder / "csv" / "metrics.csv") as file:
        return [{k: v for k, v in row.items() if v} for row in csv.DictReader(file)]


def first_run(folder, steps: int) -> None:
    """Logs a loss at every step and a validation after every second one, and one at the end."""
    log = logger(folder)
    for step in range(steps):
        log.log_metrics({"loss/total": 0.1 * step}, step)
        if step % 2:
            log.log_metrics({"val/loss": float(step), "epoch": 0}, step)
    log.log_metrics({"val/loss": 9.0, "epoch": 1}, steps)
    log.save()


def test_what_was_logged_up_to_the_checkpoint_stays_to_the_digit_and_new_figures_join_it(tmp_path):
    first_run(tmp_path, 4)
    before = rows(tmp_path)
    log = logger(tmp_path)
    continue_csv(log, 4)
    log.log_metrics({"loss/total": 7.0, "gradient_norm/total": 1.0}, 4)
    log.save()
    assert rows(tmp_path) == [*before, {"loss/total": "7.0", "gradient_norm/total": "1.0", "step": "4"}]
    assert [file.name for file in (tmp_path / "csv").iterdir()] == ["metrics.csv"]


def test_what_was_logged_after_the_checkpoint_is_not_logged_twice(tmp_path):
    first_run(tmp_path, 4)
    log = logger(tmp_path)
    continue_csv(log, 2)
    kept = [(row["step"], row.get("val/loss")) for row in rows(tmp_path)]
    assert kept == [("0", None), ("1", None), ("1", "1.0")]


def test_a_try_that_was_cut_off_loses_nothing(tmp_path):
    first_run(tmp_path, 4)
    before = rows(tmp_path)
    (tmp_path / "csv" / "metrics.csv").rename(tmp_path / "csv" / "metrics_before.csv")
    continue_csv(logger(tmp_path), 4)
    assert rows(tmp_path) == before


def test_a_folder_without_a_curve_begins_one(tmp_path):
    continue_csv(logger(tmp_path), 4)
    assert not (tmp_path / "csv" / "metrics.csv").exists()


@pytest.mark.parametrize(
    ("server", "machine", "found"),
    [
        (None, "api.wandb.ai", True),
        (None, "wandb.example.org", False),
        ("https://wandb.example.org", "wandb.example.org", True),
        ("https://wandb.example.org", "api.wandb.ai", False),
        (None, None, False),
    ],
)
def test_a_key_is_looked_for_under_the_name_of_its_server(server, machine, found, tmp_path, monkeypatch):
    for name in ("WANDB_API_KEY", "WANDB_BASE_URL", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    if server:
        monkeypatch.setenv("WANDB_BASE_URL", server)
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path))  # no settings of whoever runs this
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    if machine:
        (tmp_path / "netrc").write_text(f"machine {machine}\n login user\n password {'a' * 40}\n")
        (tmp_path / "netrc").chmod(0o600)
    wandb.teardown()
    assert _has_wandb_key() is found
    wandb.teardown()


def test_without_a_key_a_run_is_offline(tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("WANDB_MODE", "online")  # so that it is put back
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    wandb.teardown()
    _wandb_mode()
    assert wandb.setup().settings.mode == "offline"
    wandb.teardown()
