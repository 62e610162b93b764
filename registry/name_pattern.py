"""Values for modules by name, as PEFT's rank_pattern and alpha_pattern have them.

PEFT's keys are regular expressions. Most are plain names and are looked up; others are matched by
an engine that gives up in time, since strangers write them.
"""

import re
import time
from collections.abc import Mapping
from typing import Generic, TypeVar

import regex

from registry.errors import InvalidAdapter
from registry.files import CONFIG

T = TypeVar("T")

MAX_KEY = 256
MAX_EXPRESSIONS = 64
SECONDS = 1.0
"""All look-ups of one adapter may take so long together."""
_PLAIN = re.compile(r"\^?[A-Za-z0-9_.]+")


def endings(path: str) -> list[str]:
    """The names by which PEFT would take the module `path`: the whole of it, and its last parts."""
    parts = path.split(".")
    return [".".join(parts[at:]) for at in range(len(parts))]


class NamePattern(Generic[T]):
    """Gives each module the value of the first key that fits its path, as `get_pattern_key` does.

    A plain name is looked up among a path's few endings, however many names there are; `^` before
    one means the whole of it.
    """

    def __init__(self, field: str, entries: Mapping[str, T]) -> None:
        """Take the entries of the config's `field`, in order.

        Raises:
            InvalidAdapter: a key is no regular expression, or there are too many of them.
        """
        self._field = field
        self._plain: dict[str, tuple[int, T]] = {}
        self._expressions: list[tuple[int, regex.Pattern[str], T]] = []
        self._found: dict[str, T | None] = {}
        self._left = SECONDS
        for order, (key, value) in enumerate(entries.items()):
            name = key.replace("\\.", ".")
            if _PLAIN.fullmatch(name):
                self._plain[name] = (order, value)
            else:
                self._expressions.append((order, self._compiled(key), value))
        if len(self._expressions) > MAX_EXPRESSIONS:
            raise self._refusal(f"has over {MAX_EXPRESSIONS} keys that are no plain names")

    def first(self, path: str, default: T) -> T:
        """The value of the first key in order that fits.

        Raises:
            InvalidAdapter: the expressions take too long.
        """
        if path not in self._found:
            self._found[path] = self._first(path)
        found = self._found[path]
        return default if found is None else found

    def _first(self, path: str) -> T | None:
        names = (f"^{path}", *endings(path))
        fitting = [self._plain[name] for name in names if name in self._plain]
        for order, key, value in self._expressions:
            if self._fits(key, path):
                fitting.append((order, value))
                break
        return min(fitting, key=lambda entry: entry[0])[1] if fitting else None

    def _fits(self, key: "regex.Pattern[str]", path: str) -> bool:
        began = time.monotonic()
        try:
            # Without the interpreter's lock: whatever this takes, others go on.
            return key.fullmatch(path, timeout=max(self._left, 0.001), concurrent=True) is not None
        except TimeoutError:
            raise self._refusal(f"has the key {key.pattern[:80]!a}, which takes too long") from None
        finally:
            self._left -= time.monotonic() - began

    def _compiled(self, key: str) -> "regex.Pattern[str]":
        if not key or len(key) > MAX_KEY:
            raise self._refusal("has a key that is no module's name")
        try:
            return regex.compile(rf"(.*\.)?({key})")
        except (regex.error, RecursionError, OverflowError) as error:
            message = f"has the key {key[:80]!a}, no regular expression ({error})"
            raise self._refusal(message) from None

    def _refusal(self, message: str) -> InvalidAdapter:
        return InvalidAdapter(f"{self._field} {message}; name the modules plainly.", CONFIG)
