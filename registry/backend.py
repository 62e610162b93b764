"""What a kind of database does in its own way."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Engine

from registry.reach import Reach


@dataclass(frozen=True, slots=True)
class Backend:
    """A database that can be talked to.

    Attributes:
        engine: whose transactions wait for each other if their connection `registry_writes`.
        name: for people; it shows no password.
        alone: holds others off that would make or change tables.
        reading: execution options of connections that only read.
        reach: whether it answers.
    """

    engine: Engine
    name: str
    alone: Callable[[], AbstractContextManager[None]]
    reading: Mapping[str, Any] = field(default_factory=dict)
    reach: Reach = field(default_factory=Reach)
