"""Files in an S3 store, and the registry in PostgreSQL: two machines share one registry."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import timedelta
from pathlib import Path

import httpx
import postgres
import pytest
from clusters import free_port
from patience import HANGS, until
from s3fs import S3FileSystem

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tests" / "unit"))
from tiny_adapter import BASE, card, config, weights  # noqa: E402

from registry import archive, remote_files  # noqa: E402
from registry.collection import collect  # noqa: E402
from registry.errors import StorageError, StoreFailed  # noqa: E402
from registry.location import Location  # noqa: E402
from registry.registry import Registry  # noqa: E402

MOTO = ROOT / ".venv-clients" / "bin" / "moto_server"
NONE = timedelta(0)
pytestmark = [
    pytest.mark.skipif(not MOTO.exists(), reason="moto's server is not installed"),
    pytest.mark.skipif(not postgres.is_installed(), reason="no PostgreSQL is installed"),
]


@pytest.fixture
def server(monkeypatch, tmp_path) -> "Iterator[subprocess.Popen[bytes]]":
    """An S3 store on this machine."""
    port = free_port()
    endpoint = f"http://127.0.0.1:{port}"
    for name, value in {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    # It keeps what it once made for a URL, and with it the address of another test's server.
    S3FileSystem.clear_instance_cache()
    with (tmp_path / "moto.log").open("wb") as log:
        server = subprocess.Popen(
            [str(MOTO), "-H", "127.0.0.1", "-p", str(port)], stdout=log, stderr=log
        )
        try:
            transport = httpx.HTTPTransport(retries=20)
            with httpx.Client(
                base_url=endpoint, transport=transport, trust_env=False, timeout=HANGS
            ) as http:
                http.put("/models").raise_for_status()
            yield server
        finally:
            server.kill()
            server.wait()


@pytest.fixture
def bucket(server) -> str:
    """The URL of a place there."""
    return "s3://models/adapters"


def test_two_machines_share_a_registry(bucket, tmp_path):
    with postgres.server() as url:
        one, other = (Location(tmp_path / name, url, bucket) for name in ("one", "other"))
        first, second = Registry.open(one, BASE), Registry.open(other, BASE)
        version, _ = first.register(card(), config(), weights())
        assert second.get("ada/coach").digest == version.digest
        files = second.files(version.digest)
        assert files.weights.read_bytes() == weights()
        assert files.weights.is_relative_to(tmp_path / "other")
        assert list(archive.problems(other)) == []
        second.register(card(), config(), weights(seed=1))
        assert first.files(first.get("ada/coach").digest).weights.read_bytes() == weights(seed=1)
        first.retire("ada/coach")
        assert collect(other, NONE, NONE).files == 5
        with pytest.raises(StorageError):
            second.files(version.digest)
        first.close()
        second.close()
        with closing(Registry.open(Location(tmp_path / "x", url, "s3://nobody/x"), BASE)) as none:
            with pytest.raises(StorageError, match="files' store"):
                none.register(card("ada/x"), config(), weights(seed=2))
            assert none.live() == []


def test_one_that_says_nothing_holds_up_what_is_here_for_a_moment(
    server, bucket, tmp_path, monkeypatch
):
    one, other = (Location(tmp_path / name, files=bucket) for name in ("one", "other"))
    with closing(Registry.open(one, BASE)) as registry:
        here, _ = registry.register(card(), config(), weights())
        far = other.blobs()
        server.send_signal(signal.SIGSTOP)
        with monkeypatch.context() as patched:
            # Nobody who would answer is hurried by it.
            patched.setattr(remote_files, "PATIENCE_SECONDS", 1.0)
            with pytest.raises(StoreFailed, match="says nothing"):
                far.verified(here.digest)
            with pytest.raises(StoreFailed, match="says nothing"):
                registry.register(card("ada/late"), config(), weights(seed=1))
        # Others write meanwhile, and read what they have read before.
        registry.retire("ada/coach")
        registry.restore("ada/coach")
        assert registry.files(here.digest) == here.files
        server.send_signal(signal.SIGCONT)
        until(lambda: succeeds(far.verified, here.digest))
        until(lambda: succeeds(registry.register, card("ada/late"), config(), weights(seed=1)))


def succeeds(do, *what):
    with suppress(StoreFailed):
        do(*what)
        return True
