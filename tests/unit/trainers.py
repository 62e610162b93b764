"""A trainer in a thread, for tests of whoever asks for specialists."""

import threading
from contextlib import contextmanager

from specialists.training.trainer import Trainer


@contextmanager
def training(registry, base):
    """A trainer that does what is asked for meanwhile."""
    ended = threading.Event()

    def work():
        trainer = Trainer(registry, base, "me")
        while not ended.wait(0.01):
            trainer.work()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
