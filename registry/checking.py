"""Adapters are checked in processes apart, which may take only so much memory and time.

Whatever a stranger's file does to a parser, it does it there: the process is ended, the upload
refused, and another process takes its place. It is sent the weights' handle, and answers in JSON.
"""

import atexit
import json
import os
import sys
import threading
from collections.abc import Mapping
from dataclasses import asdict
from mmap import ACCESS_READ, mmap
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle, send_handle
from tempfile import TemporaryFile
from typing import Any

from registry.adapter import Adapter, validate
from registry.apart import begun, bound, ended
from registry.base import BaseSpec
from registry.content import Buffer
from registry.errors import InvalidAdapter, StorageError
from registry.files import WEIGHTS
from registry.limits import Limits

SECONDS = 120.0
"""The largest adapter takes a few; a busy machine may need more."""
_OVERHEAD_BYTES = 1 << 30
"""Address space beside the adapter's own: Python, numpy, and the header as objects."""
_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


class Checkers:
    """Processes that check; each is begun when all others are at work. Thread-safe."""

    def __init__(self) -> None:
        self._idle: list[_Checker] = []
        self._lock = threading.Lock()

    def check(self, config: bytes, weights: Buffer, base: BaseSpec, limits: Limits) -> Adapter:
        """Check an adapter's two files apart.

        Raises:
            InvalidAdapter: see `validate`; or it takes too much memory or time to be read.
            StorageError: no process can be begun.
        """
        if len(config) > limits.max_config_bytes or len(weights) > limits.max_bytes:
            # Refused for its size alone, unread.
            return validate(config, weights, base, limits)
        checker = self._taken()
        try:
            adapter = checker.check(config, weights, base, limits)
        except _Ended as error:
            checker.end()
            raise InvalidAdapter(str(error), WEIGHTS) from None
        except InvalidAdapter:
            self._give_back(checker)
            raise
        except BaseException:
            checker.end()
            raise
        self._give_back(checker)
        return adapter

    def close(self) -> None:
        """End those that are idle."""
        with self._lock:
            idle, self._idle = self._idle, []
        for checker in idle:
            if checker.is_ours:
                checker.end()

    def _taken(self) -> "_Checker":
        with self._lock:
            # Those of a process that this one was forked from are not ours.
            mine = [each for each in self._idle if each.is_ours]
            self._idle = mine[:-1]
        return mine[-1] if mine else _Checker()

    def _give_back(self, checker: "_Checker") -> None:
        with self._lock:
            self._idle.append(checker)


CHECKERS = Checkers()
"""Those of this process, whatever registries it has open."""
atexit.register(CHECKERS.close)


class _Ended(Exception):
    """A checker did not survive what it was sent."""


class _Checker:
    """One process that checks, at the other end of a socket."""

    def __init__(self) -> None:
        self._parent = os.getpid()
        try:
            self._process, self._connection = begun(__name__, _ONE_THREAD)
        except OSError as error:
            raise StorageError(f"No process can be begun to check adapters: {error}.") from error

    @property
    def is_ours(self) -> bool:
        """Whether this process began it, and it goes on."""
        return self._parent == os.getpid() and self._process.poll() is None

    def check(self, config: bytes, weights: Buffer, base: BaseSpec, limits: Limits) -> Adapter:
        """Have an adapter checked; raises _Ended when the process did not answer."""
        asked = {"base": asdict(base), "limits": asdict(limits), "config": config.decode("latin-1")}
        with TemporaryFile() as file:
            file.write(weights)
            file.flush()
            try:
                self._connection.send_bytes(json.dumps(asked).encode())
                send_handle(self._connection, file.fileno(), self._process.pid)
                if not self._connection.poll(SECONDS):
                    raise _Ended(f"takes longer than {SECONDS:.0f} s to check.")
                answer = json.loads(self._connection.recv_bytes())
            except (EOFError, OSError):
                raise _Ended("takes too much memory to check, or cannot be read.") from None
        return _read(answer)

    def end(self) -> None:
        """End the process."""
        ended(self._process, self._connection)


def _read(answer: Mapping[str, Any]) -> Adapter:
    if "refused" in answer:
        raise InvalidAdapter(*answer["refused"])
    return Adapter(**{**answer, "targets": tuple(answer["targets"])})


def main(descriptor: int) -> None:
    """Answer until nobody asks any longer."""
    connection = Connection(descriptor)
    while True:
        try:
            asked = json.loads(connection.recv_bytes())
            handle = recv_handle(connection)
        except (EOFError, OSError):
            return
        connection.send_bytes(json.dumps(_answer(asked, handle)).encode())


def _answer(asked: Mapping[str, Any], handle: int) -> dict[str, Any]:
    base, limits = asked["base"], Limits(**asked["limits"])
    bound(_OVERHEAD_BYTES + 4 * limits.max_bytes)
    shapes = {name: tuple(shape) for name, shape in base["modules"].items()}
    with os.fdopen(handle, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        weights: Buffer = mmap(file.fileno(), 0, access=ACCESS_READ) if size else b""
    config = asked["config"].encode("latin-1")
    try:
        return asdict(validate(config, weights, BaseSpec(**base | {"modules": shapes}), limits))
    except InvalidAdapter as error:
        return {"refused": error.args}


if __name__ == "__main__":
    main(int(sys.argv[1]))
