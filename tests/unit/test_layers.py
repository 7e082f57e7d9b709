"""Layers work without what they must not need."""

import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "aniportrait"

# Runs in an interpreter of its own, in which some packages seem not to be installed: argv holds these, a
# dash, the modules to import. The finders are wrapped because diffusers asks them what is installed.
IMPORT_WITHOUT = """
import importlib, sys
dash = sys.argv.index("-", 1)
absent = set(sys.argv[1:dash])

class Without:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in absent else self.finder.find_spec(name, path, target)

    def __getattr__(self, name):
        return getattr(self.finder, name)

sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
for name in sys.argv[dash + 1:]:
    importlib.import_module(name)
"""


def modules(layer):
    files = sorted((PACKAGE / layer).rglob("*.py"))
    return [".".join(("aniportrait", *file.relative_to(PACKAGE).with_suffix("").parts)) for file in files]


def imported_without(packages, names):
    command = [sys.executable, "-c", IMPORT_WITHOUT, *packages, "-", *names]
    return subprocess.run(command, cwd=PACKAGE.parent, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("layer", "packages"),
    [
        (
            "pipelines",
            ("lightning", "pytorch_lightning", "hydra", "omegaconf", "wandb", "gradio", "torchmetrics"),
        ),
        ("face", ("torch", "diffusers", "transformers", "lightning", "av")),
    ],
)
def test_a_layer_imports_without(layer, packages):
    names = modules(layer)
    assert len(names) > 1
    run = imported_without(packages, names)
    assert run.returncode == 0, run.stderr


def test_what_needs_an_absent_package_is_not_imported():
    run = imported_without(["scipy"], ["aniportrait.face.head_pose"])
    assert run.returncode == 1
    assert "ModuleNotFoundError: No module named 'scipy'" in run.stderr


def test_package_files_import_nothing():
    assert [
        str(file) for file in PACKAGE.rglob("__init__.py") if file.read_text(encoding="utf-8").strip()
    ] == []
