"""Homes with an empty registry: to copy one takes less than to migrate another."""

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import tiny_adapter

from registry.base import BaseSpec
from registry.database import DATABASE
from registry.registry import Registry

_EMPTY: dict[str, TemporaryDirectory] = {}
"""By the base's digest."""


def fill(home: Path, base: BaseSpec = tiny_adapter.BASE) -> None:
    """Put an empty registry there."""
    if base.digest not in _EMPTY:
        _EMPTY[base.digest] = folder = TemporaryDirectory()
        Registry.open(Path(folder.name), base).close()
    shutil.copytree(_EMPTY[base.digest].name, home, dirs_exist_ok=True)


def open_registry(home: Path, base: BaseSpec = tiny_adapter.BASE) -> Registry:
    """The registry that is there, or an empty one."""
    if not (home / DATABASE).exists():
        fill(home, base)
    return Registry.open(home, base)
