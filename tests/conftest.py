"""What lies outside of the repository, and the one way a test asks for it."""

import os
from pathlib import Path

import pytest

from aniportrait.face.canonical import CanonicalFace, load_canonical_face
from aniportrait.face.task_file import TaskFileError

# In the environment, as make puts it there: what tests run finds it as well.
os.environ.setdefault("SHARED", str(Path(__file__).parents[1] / ".." / "shared"))
SHARED = Path(os.environ["SHARED"]).resolve()


@pytest.fixture(scope="session")
def shared() -> Path:
    """The fixtures folder; a test that asks for it skips where there is none."""
    if not SHARED.is_dir():
        pytest.skip(f"fixtures folder {SHARED} is absent (set SHARED)")
    return SHARED


@pytest.fixture(scope="session")
def canonical() -> CanonicalFace:
    """MediaPipe's face at rest; a test that asks for it skips where there is no landmarker bundle."""
    try:
        return load_canonical_face()
    except TaskFileError as error:
        pytest.skip(str(error))
