"""What holds for every test: a clean environment, and no network but loopback."""

import gc
import importlib
import os
import sys
from functools import cache
from pathlib import Path

# As in a replica, where Ray sees to it: threads that share small products take ten times as long.
# NumPy looks when it is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import httpx
import httpx2
import pytest
from hypothesis import HealthCheck, settings

# Machines differ and are shared: how long an example takes says nothing about the code.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("long", settings.get_profile("shared"), max_examples=1000)
settings.load_profile("shared")

# Importing it installs it here; whoever is started with this path gets it too.
GUARD = Path(__file__).parent / "guard"
sys.path.insert(0, str(GUARD))
sys.modules.pop("sitecustomize", None)
importlib.import_module("sitecustomize")
os.environ["PYTHONPATH"] = os.pathsep.join(
    filter(None, [str(GUARD), os.environ.get("PYTHONPATH", "")])
)


@pytest.fixture(autouse=True, scope="session")
def _one_tls_context():
    """Nothing here speaks TLS, and each client would read all certificates anew."""
    with pytest.MonkeyPatch.context() as patch:
        for client in httpx, httpx2:
            transports = client._transports.default
            made = transports.create_ssl_context
            patch.setattr(transports, "create_ssl_context", cache(made))
        yield


@pytest.fixture(autouse=True)
def _clean_environ(monkeypatch: pytest.MonkeyPatch):
    for name in os.environ:
        if name.startswith("MYRIAD_"):
            monkeypatch.delenv(name)


def pytest_collection_finish():
    """What was imported stays: no collection need look through it again, and few look at all."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish():
    """Pytest collects five times at the end: what one has seen need not be looked at again."""
    gc.collect()
    gc.freeze()
