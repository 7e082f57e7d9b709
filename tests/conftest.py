"""Where fixtures live, and the one way a test asks for them."""

import os
from pathlib import Path

import pytest

# In the environment, as make puts it there: what tests run finds it as well.
os.environ.setdefault("SHARED", str(Path(__file__).parents[1] / ".." / "shared"))
SHARED = Path(os.environ["SHARED"]).resolve()


@pytest.fixture(scope="session")
def shared() -> Path:
    """The fixtures folder; a test that asks for it skips where there is none."""
    if not SHARED.is_dir():
        pytest.skip(f"fixtures folder {SHARED} is absent (set SHARED)")
    return SHARED
