"""Which code a run was of: commit and uncommitted changes."""

import json
import logging
import subprocess
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

CODE = Path(__file__).parents[2]
"""The folder this package lies in: a checkout, if it was not installed elsewhere."""


def save_git_state(run: Path, code: Path = CODE) -> dict[str, Any]:
    """Write `run/git.json` and, of uncommitted changes, `run/git.diff`; returns what git.json says.

    That is `commit`, `dirty`, and the names of `untracked` files, which the diff does not hold. Outside of a git
    checkout it is empty, and neither file is left.
    """
    (run / "git.diff").unlink(missing_ok=True)  # of an earlier run into this folder
    (run / "git.json").unlink(missing_ok=True)
    if not (code / ".git").exists():
        return {}
    try:
        state, diff = _state(code)
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None)
        reason = said.decode(errors="replace").strip().splitlines()[0] if said else error
        log.warning("the git state of %s is not kept: %s", code, reason)
        return {}
    (run / "git.json").write_text(json.dumps(state, indent=1) + "\n")
    if diff:
        (run / "git.diff").write_bytes(diff)
    return state


def _state(code: Path) -> tuple[dict[str, Any], bytes]:
    commit = _git(code, "rev-parse", "HEAD").decode().strip()
    diff = _git(code, "diff", "HEAD")
    listed = _git(code, "ls-files", "--others", "--exclude-standard", "-z").decode(errors="replace")
    untracked = [name for name in listed.split("\0") if name]
    return {"commit": commit, "dirty": bool(diff or untracked), "untracked": untracked}, diff


def _git(code: Path, *arguments: str) -> bytes:
    command = ["git", "-C", str(code), *arguments]
    return subprocess.run(command, check=True, capture_output=True, timeout=60).stdout
