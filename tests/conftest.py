"""What holds for every test: a clean environment, and no network but loopback."""

import gc
import os
import socket
from functools import cache

import httpx
import pytest
from hypothesis import HealthCheck, settings

# Machines differ and are shared: how long an example takes says nothing about the code.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")

_connect = socket.socket.connect


def _loopback_only(self: socket.socket, address):
    host = address[0] if isinstance(address, tuple) else ""
    if self.family != socket.AF_UNIX and not (
        host.startswith("127.") or host in ("localhost", "::1")
    ):
        raise RuntimeError(f"a test reached for {address}: only loopback is allowed")
    return _connect(self, address)


@pytest.fixture(autouse=True, scope="session")
def _network_guard():
    socket.socket.connect = _loopback_only
    yield
    socket.socket.connect = _connect


@pytest.fixture(autouse=True, scope="session")
def _one_tls_context():
    """Nothing here speaks TLS, and each client would read all certificates anew."""
    made = httpx._transports.default.create_ssl_context
    httpx._transports.default.create_ssl_context = cache(made)
    yield
    httpx._transports.default.create_ssl_context = made


@pytest.fixture(autouse=True)
def _clean_environ(monkeypatch: pytest.MonkeyPatch):
    for name in os.environ:
        if name.startswith("MYRIAD_"):
            monkeypatch.delenv(name)


def pytest_collection_finish():
    """What was imported stays: no collection need look through it again."""
    gc.collect()
    gc.freeze()
