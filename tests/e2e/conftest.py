"""A real cluster on the real base, shared by all tests here."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from clusters import LOG_BYTES, Cluster, free_port, running
from collector import Collector, collecting
from openai import OpenAI

from specialists.base import EMBEDDED, prepare_base

TRAINING = {"test_creation.py", "test_training.py"}


def pytest_collection_modifyitems(items):
    """Training comes last: it gives way to all else that runs, and would only take longer."""
    items.sort(key=lambda item: item.path.name in TRAINING)


@pytest.fixture(scope="session")
def prepared_home(tmp_path_factory) -> Path:
    """A home whose base is unpacked, as `myriad setup` leaves it."""
    home = tmp_path_factory.mktemp("home")
    prepare_base(EMBEDDED, home, lambda *_: None)
    return home


@pytest.fixture(scope="session")
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


@pytest.fixture(scope="session")
def cluster(prepared_home, tmp_path_factory, collector) -> Iterator[Cluster]:
    log = tmp_path_factory.mktemp("log") / "up.log"
    told = {
        "MYRIAD_TRACES__ENDPOINT": collector.url,
        "MYRIAD_TRACES__SHARE": "0",  # only whoever asks for it is recorded
        "MYRIAD_LOGS__LEVEL": "info",
        "MYRIAD_LOGS__FORMAT": "json",
        "RAY_ROTATION_MAX_BYTES": str(LOG_BYTES),
    }
    with running(prepared_home, free_port(), log, **told) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def client(cluster) -> Iterator[OpenAI]:
    with cluster.openai() as client:
        yield client
