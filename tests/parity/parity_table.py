"""Compares our networks, schedules, windows and drawings with golden outputs of the original.

    python tests/parity/parity_table.py <folder of fixtures>

Prints a row for each case. Exits with 1 if one fails, with 2 if the folder holds no fixture.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from audio_checks import check_audio2mesh, check_audio2pose, check_audio_features
from comparison import Check, Skipped
from diffusion_checks import check_context, check_scheduler
from face_checks import check_landmarks, check_projection
from golden import Golden, find_goldens
from pose_guider_checks import check_pose_guider
from sync_checks import check_syncnet
from unet_checks import check_denoising_unet, check_reference_control, check_reference_unet

KINDS: dict[str, Callable[[Golden], Iterator[Check | Skipped]]] = {
    "reference_unet": check_reference_unet,
    "denoising_unet": check_denoising_unet,
    "reference_control": check_reference_control,
    "pose_guider": check_pose_guider,
    "audio2mesh": check_audio2mesh,
    "audio2pose": check_audio2pose,
    "audio_features": check_audio_features,
    "context": check_context,
    "scheduler": check_scheduler,
    "projection": check_projection,
    "landmarks": check_landmarks,
    "syncnet": check_syncnet,
}
"""`kind` in a fixture's config.json -> its checks."""

_LONGEST_REASON = 200


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Compare with golden outputs of the original.")
    parser.add_argument("fixtures", type=Path, help="folder of fixtures")
    root = parser.parse_args(arguments).fixtures
    goldens = find_goldens(root) if root.is_dir() else []
    if not goldens:
        print(f"{root} must be a folder that holds fixtures (folders with a config.json)", file=sys.stderr)
        return 2
    failed = total = 0
    width = max(len(golden.name) for golden in goldens)
    print(f"{'fixture':{width}}  {'case':<44} {'difference':>10} {'bound':>7}  result", flush=True)
    for golden in goldens:
        for row in rows(golden):
            print(f"{golden.name:{width}}  {_line(row)}", flush=True)
            total += isinstance(row, Check)
            failed += isinstance(row, Check) and not row.passed
    print(f"{total - failed} of {total} comparisons pass", flush=True)
    return 1 if failed else 0


def rows(golden: Golden) -> Iterator[Check | Skipped]:
    """All comparisons of one fixture; whatever goes wrong is a failed one, with the reason."""
    try:
        kind = golden.config.get("kind")
        if kind is None:
            raise ValueError("config.json says no kind")
        if kind not in KINDS:
            yield Skipped("", f"not covered: kind {kind}")
            return
        compared = 0
        with torch.no_grad():
            for row in KINDS[kind](golden):
                compared += isinstance(row, Check)
                yield row
        if not compared:
            raise ValueError("it holds no case that could be compared")
        left = golden.not_compared()
        if left:
            yield Skipped(f"{len(left)} other outputs", f"not covered: {', '.join(left)}")
    except Exception as error:  # whatever is wrong with one fixture, the others still have their say
        yield Check("", float("nan"), remark=f"{type(error).__name__}: {error}")


def _line(row: Check | Skipped) -> str:
    if isinstance(row, Skipped):
        return f"{row.case:<44} {'':>10} {'':>7}  {_one_line(_named(row.reason))}"
    bound = "exact" if row.bound == 0 else f"{row.bound:.0e}"
    result = "pass" if row.passed else "FAIL"
    return f"{row.case:<44} {row.difference:>10.1e} {bound:>7}  {_one_line(f'{result}  {row.remark}')}"


def _named(reason: str) -> str:
    return reason if reason.startswith("not covered") else f"skipped: {reason}"


def _one_line(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST_REASON else f"{text[:_LONGEST_REASON]}..."


if __name__ == "__main__":
    sys.exit(main())
