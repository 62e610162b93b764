"""Torch takes 200 MB of each process that imports it: only those that compute with it do."""

import subprocess
import sys

import pytest

STARTS = "import deploy.up, deploy.serve_app"
ROUTES = """
import numpy as np
import deploy.router_replica
from deploy.encoder import open_encoder
from router.routing.probe import fit
vectors = open_encoder(1).encode(["a loaf", "a ship"])
fit(vectors[:1], vectors[1:])
"""


@pytest.mark.parametrize("work", [STARTS, ROUTES], ids=["starting", "routing"])
def test_it_is_done_without_torch(work):
    told = "\nimport sys; print('torch' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", work + told], capture_output=True, text=True)
    assert ran.stdout == "False\n", ran.stderr
