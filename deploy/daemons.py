"""Ray's own processes beside this one, and ending without them.

A supervisor may signal all processes of a group, or of a control group, at once. Whatever is asked
of Ray afterwards waits a minute for what is gone, and then ends this process with an error.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from threading import Event, Thread

import psutil

NAMES = frozenset({"gcs_server", "raylet"})
LOOK_SECONDS = 0.1


def daemons() -> list[psutil.Process]:
    """Those that this process has started, without which nothing of Ray's can be done."""
    return [each for each in psutil.Process().children() if each.name() in NAMES]


@contextmanager
def needed(known: Sequence[psutil.Process]) -> Iterator[None]:
    """End this process, and all that it has started, once one of these is gone: as if all was done.

    What is done while the context is open would wait for them.
    """
    done = Event()
    watch = Thread(target=_watch, args=(known, done), name="daemons", daemon=True)
    watch.start()
    try:
        yield
    finally:
        done.set()
        # Or it might take for lost what is ended in order from here on.
        watch.join()


def _watch(known: Sequence[psutil.Process], done: Event) -> None:
    # Whose parent has ended is nobody's child here.
    family = psutil.Process().children(recursive=True)
    while all(_runs(each) for each in known):
        if done.wait(LOOK_SECONDS):
            return
    for each in {*family, *psutil.Process().children(recursive=True)}:
        with suppress(psutil.NoSuchProcess):
            each.kill()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _runs(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
