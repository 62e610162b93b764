"""What holds for every unit test: files in memory, and one thread per computation.

Tiny products gain nothing from more, and on a busy machine threads that wait for each other cost
a hundred times what they compute.
"""

import os
from functools import cache
from pathlib import Path

import homes
import on_postgres
import pytest
import torch
import typer.main

MEMORY = Path("/dev/shm")
ROOM = 2**30
"""Bytes that must be free there, many times what tests take at once."""


def _is_roomy(folder):
    """Whether there is room for files, which may be libraries."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize > ROOM and not found.f_flag & os.ST_NOEXEC


# Waiting for a disk takes a tenth of the time, and nothing here asks what survives its loss.
if MEMORY.is_dir() and _is_roomy(MEMORY):
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


@pytest.fixture(autouse=True, scope="session")
def _database():
    with pytest.MonkeyPatch.context() as patch:
        if on_postgres.SERVER is not None:
            on_postgres.use_postgres(patch)
        yield


def pytest_collection_modifyitems(items):
    """On PostgreSQL, leave out the tests of SQLite's own file."""
    for item in items:
        if on_postgres.SERVER is not None and item.get_closest_marker("sqlite"):
            item.add_marker(pytest.mark.skip(reason="looks into SQLite's file"))


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("specialists.engine.networks.cores", lambda: 1)
        torch.set_num_threads(1)
        yield


@pytest.fixture(autouse=True, scope="session")
def _nobody_gives_way():
    """Trainers sleep while others want the cores, and here that is other tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("specialists.training.making.Courtesy", lambda: lambda: None)
        yield


@pytest.fixture(autouse=True, scope="session")
def _one_command():
    """To put all commands together takes longer than most of them, and is done once a process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(typer.main, "get_command", cache(typer.main.get_command))
        yield


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


@pytest.fixture
def registry(home):
    """An empty registry in `home`, for the tiny base."""
    registry = homes.open_registry(home)
    yield registry
    registry.close()
