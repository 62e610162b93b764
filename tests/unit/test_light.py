"""What each process does without: torch alone takes 200 MB of whoever imports it, and seconds."""

import subprocess
import sys

import pytest

HELP = "import deploy.cli"
SERVES = """
import deploy.up, deploy.serve_app, deploy.router_replica
from deploy.encoder import open_encoder
from router.routing.probe import fit
vectors = open_encoder(1).encode(["a loaf", "a ship"])
fit(vectors[:1], vectors[1:])
"""
LIBRARIES = {"torch", "transformers", "ray", "peft", "sqlalchemy", "httpx", "pydantic", "numpy"}


@pytest.mark.parametrize(
    ("work", "heavy"),
    [(HELP, LIBRARIES), (SERVES, {"torch"})],
    ids=["help", "starting and routing"],
)
def test_it_is_done_without(work, heavy):
    probe = work + "\nimport sys; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", probe], capture_output=True, check=True, text=True)
    assert not heavy & set(ran.stdout.split())
