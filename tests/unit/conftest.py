"""What holds for every unit test: one thread per computation.

Tiny products gain nothing from more, and on a busy machine threads that wait for each other cost
a hundred times what they compute.
"""

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("specialists.engine.networks.cores", lambda: 1)
        torch.set_num_threads(1)
        yield
