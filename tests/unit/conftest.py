"""What holds for every unit test: one thread per computation.

Tiny products gain nothing from more, and on a busy machine threads that wait for each other cost
a hundred times what they compute.
"""

import shutil

import on_postgres
import pytest
import torch
from tiny_adapter import BASE

from registry.registry import Registry


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


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


@pytest.fixture(scope="session")
def empty_home(tmp_path_factory):
    """A home with a registry and nothing in it: to copy it takes less than to migrate another."""
    home = tmp_path_factory.mktemp("empty") / "home"
    Registry.open(home, BASE).close()
    return home


@pytest.fixture
def registry(home, empty_home):
    """An empty registry in `home`, for the tiny base."""
    shutil.copytree(empty_home, home)
    registry = Registry.open(home, BASE)
    yield registry
    registry.close()
