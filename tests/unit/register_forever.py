"""Registers one new version after another and tells of each once it is acknowledged.

Arguments: the home, the id, the first seed, and how many (0: until killed).
"""

import itertools
import sys
from pathlib import Path

from tiny_adapter import BASE, card, config, weights

from registry.registry import Registry

home, name, first, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
registry = Registry.open(home, BASE)
for seed in itertools.islice(itertools.count(first), count or None):
    version, _ = registry.register(card(name, tags=["loop"]), config(), weights(seed=seed))
    sys.stdout.write(f"{version.digest}\n")
    sys.stdout.flush()
registry.close()
