"""Where fixtures live, and the one way a test asks for them."""

import os
from pathlib import Path

import pytest

SHARED = Path(os.environ.get("SHARED", Path(__file__).parents[1] / ".." / "shared")).resolve()


@pytest.fixture(scope="session")
def shared() -> Path:
    """The fixtures folder; a test that asks for it skips where there is none."""
    if not SHARED.is_dir():
        pytest.skip(f"fixtures folder {SHARED} is absent (set SHARED)")
    return SHARED
