"""A real cluster on the real base, shared by all tests here."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from clusters import Cluster, free_port, running
from openai import OpenAI

from specialists.base import EMBEDDED, prepare_base


@pytest.fixture(scope="session")
def prepared_home(tmp_path_factory) -> Path:
    """A home whose base is unpacked, as `myriad setup` leaves it."""
    home = tmp_path_factory.mktemp("home")
    prepare_base(EMBEDDED, home, lambda *_: None)
    return home


@pytest.fixture(scope="session")
def cluster(prepared_home, tmp_path_factory) -> Iterator[Cluster]:
    log = tmp_path_factory.mktemp("log") / "up.log"
    with running(prepared_home, free_port(), log) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def client(cluster) -> Iterator[OpenAI]:
    with cluster.openai() as client:
        yield client
