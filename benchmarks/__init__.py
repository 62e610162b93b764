"""Measured claims, each a command: `python -m benchmarks.NAME [--json FILE]`."""

import os

# As in a replica, where Ray sees to it: threads that share small products take ten times as long.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
