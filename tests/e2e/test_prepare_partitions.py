"""Partitions started by one of Hydra's launchers, and merged."""

import json
from itertools import islice
from pathlib import Path

import pytest
from test_entries import run

from aniportrait.data.media import read_video, write_video

PARTITIONS = "partition=1/3,2/3,3/3"


def clips(shared: Path, folder: Path) -> Path:
    for name in ("grid_bbaf2n", "grid_brbk7n"):
        film = read_video(shared / "data" / "clips" / f"{name}.mp4")
        write_video(folder / f"{name}.mp4", islice(film, 15), 25.0)
    (folder / "letter.mp4").write_text("dear reader")
    return folder


@pytest.mark.shared
def test_partitions_in_processes_of_joblib_prepare_every_clip_for_one_merge(shared, tmp_path):
    """Once every worker died of joblib's start method, and every clip was dropped for it."""
    settings = f"source.path={clips(shared, tmp_path / 'clips')}", "out=out", "image_size=64", "workers=1"
    swept = run("prepare.py", "-m", PARTITIONS, "hydra/launcher=joblib", *settings, cwd=tmp_path)
    assert swept.returncode == 0, swept.stderr
    assert not (tmp_path / "out" / "index.json").exists()
    merged = run("prepare.py", "step=merge", *settings, cwd=tmp_path)
    assert merged.returncode == 0, merged.stderr
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert (report["kept"], report["failed"]) == (2, 0), report
    assert [Path(drop["clip"]).name for drop in report["dropped"]] == ["letter.mp4"]
    assert "is not a video or sound file that can be read" in report["dropped"][0]["reason"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "index.json", "report.html", "report.json", "shard-000000.tar",
    ]  # fmt: skip
