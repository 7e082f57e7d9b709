"""What the project's own files promise each other."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
WORKFLOW = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))

SOMEONES_FOLDER = re.compile(r"(?<![\w.$~-])/(?:wor[k]|far[m]|roo[t]|tm[p]/w)(?![\w-])")


def requirements():
    extras = PROJECT["optional-dependencies"].values()
    return [Requirement(line) for group in (PROJECT["dependencies"], *extras) for line in group]


def plain(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def pins():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = [line.split("==") for line in lines if not line.startswith("#")]
    return {plain(name): version for name, version in pairs}


def public_targets():
    phony = re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    assert phony is not None
    return set(phony[1].split())


@pytest.mark.parametrize("requirement", requirements(), ids=str)
def test_a_requirement_has_a_tested_version_that_it_allows(requirement):
    version = pins().get(plain(requirement.name))
    assert version is not None, f"{requirement.name} is not in constraints.txt"
    assert requirement.specifier.contains(version, prereleases=True), (
        f"{version} is not {requirement.specifier}"
    )


def test_pinned_versions_fit_every_machine():
    assert [
        f"{name}=={version}" for name, version in pins().items() if "+" in version or "nvidia" in name
    ] == []


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_alone_lists_every_public_target():
    shown = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r"^  make ([a-z0-9-]+)", shown, re.MULTILINE)) == public_targets()


@pytest.mark.parametrize("document", sorted(path.name for path in ROOT.glob("*.md")))
def test_a_document_names_only_make_targets_that_exist(document):
    text = (ROOT / document).read_text(encoding="utf-8")
    named = set(re.findall(r"(?:^ *|`|\$ |&& )make ([a-z][a-z0-9-]*)", text, re.MULTILINE))
    assert named <= public_targets()


def test_the_public_ci_runs_what_make_ci_runs_on_every_python_we_claim():
    job = WORKFLOW["jobs"]["check"]
    allowed = SpecifierSet(PROJECT["requires-python"])
    claimed = {f"3.{minor}" for minor in range(30) if f"3.{minor}" in allowed}
    assert set(job["strategy"]["matrix"]["python"]) == claimed
    assert any(step.get("run") == ".ci/run" for step in job["steps"])
    assert re.search(r"^ci:.*\n\t\.ci/run$", MAKEFILE, re.MULTILINE)


def test_the_public_ci_installs_the_system_packages_that_make_asks_for():
    asked = re.search(r"^packages = \{(.*)\}$", MAKEFILE, re.MULTILINE)
    assert asked is not None
    installed = next(
        step["run"] for step in WORKFLOW["jobs"]["check"]["steps"] if "apt-get" in step.get("run", "")
    )
    assert set(re.findall(r': "([^"]+)"', asked[1])) <= set(installed.split())


def test_licence_files_are_there_and_data_files_are_packaged():
    assert all((ROOT / name).is_file() for name in PROJECT["license-files"])
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    package = ROOT / "aniportrait"
    data = {path.relative_to(package).as_posix() for path in package.rglob("*") if path.is_file()}
    data = {name for name in data if not name.endswith((".py", ".pyc"))}
    assert data == set(settings["package-data"]["aniportrait"])


@pytest.mark.parametrize("folder", ["work", "farm", "root", "tmp/w"])
def test_a_folder_of_somebodys_machine_is_known_with_and_without_what_lies_in_it(folder):
    for line in ("cd /{} && make", "at /{}.", '"/{}"', "/{}/clips", "PATHS=/{}:x"):
        assert SOMEONES_FOLDER.search(line.format(folder)), line
    for line in ("/{}ers", "a/{}", "../{}", "https://a.org/{}", "/{}-flow"):
        assert not SOMEONES_FOLDER.search(line.format(folder)), line


def test_nothing_committed_names_a_folder_of_somebodys_machine():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    found = []
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        if path.is_file():
            lines = path.read_bytes().decode("utf-8", errors="ignore").splitlines()
            found += [f"{name}: {line.strip()[:120]}" for line in lines if SOMEONES_FOLDER.search(line)]
    assert found == []
