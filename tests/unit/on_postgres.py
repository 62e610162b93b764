"""The tests of the registry on PostgreSQL: a home's registry is a database of its own there.

With MYRIAD_TESTS_POSTGRES, the URL of a server's database, every location without a database gets
one that is named after its home. Tests that look into SQLite's file are skipped (mark `sqlite`).
"""

import hashlib
import os
from pathlib import Path

import pytest
from postgres import create_database
from sqlalchemy.engine import make_url

from registry.database import Database
from registry.location import Location

SERVER = os.environ.get("MYRIAD_TESTS_POSTGRES")
TEMPLATE = f"empty_{os.environ.get('PYTEST_XDIST_WORKER', 'alone')}"
"""Each process has its own: one that is copied must be asked nothing meanwhile."""


def use_postgres(patch: pytest.MonkeyPatch) -> None:
    """Keep registries on the server from now on."""
    _create(TEMPLATE, "template1")
    Database.connect(_url(TEMPLATE)).close()
    made: set[Path] = set()

    def opened(location: Location) -> Database:
        if location.home not in made:
            made.add(location.home)
            _create(_name(location.home))
        location.home.mkdir(parents=True, exist_ok=True)
        return Database.connect(_url(_name(location.home)))

    patch.setattr(Location, "open", opened)
    patch.setattr(Location, "is_new", property(lambda location: location.home not in made))


def _name(home: Path) -> str:
    return "home_" + hashlib.sha256(str(home).encode()).hexdigest()[:24]


def _url(name: str) -> str:
    return make_url(SERVER).set(database=name).render_as_string(hide_password=False)


def _create(name: str, template: str = TEMPLATE) -> None:
    create_database(SERVER, name, f"TEMPLATE {template}")
