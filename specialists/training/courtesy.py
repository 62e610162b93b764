"""Courtesy: a training gives way, dozens of times a step, while others want its cores.

An idle priority keeps others from waiting for a core, not from sharing caches and memory with
whoever computes on it meanwhile: beside one stream on two cores an idle training halves the tokens
a second. So it looks, between two layers, how long it waited for a core of late, and if that was
long it sleeps for a few times as long as it computed. It looks back over several layers: what a
server does now and then, asked for nothing, would else seem long beside one of them.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

LONG = 1.0
"""Seconds of waiting per second of computing that mean that somebody else wants the cores. Measured
on two slow ones: mostly 0.1 to 0.6 in a cluster that nobody asks anything, 1.6 to 2.2 beside one
stream."""
WINDOW_SECONDS = 0.1
"""That it looks back over."""
SHARE = 0.2
"""Of the time, what a training takes while others want the cores."""
LONGEST_SECONDS = 0.5
SCHEDSTAT = Path("/proc/thread-self/schedstat")
"""Nanoseconds that this thread ran, then those that it waited for a core (Linux)."""


def run_and_waited() -> tuple[float, float]:
    """Seconds that this thread ran so far, and that it waited for a core; zeros if unknown."""
    try:
        ran, waited, _ = SCHEDSTAT.read_text().split()
    except (OSError, ValueError):
        return 0.0, 0.0
    return int(ran) / 1e9, int(waited) / 1e9


class Courtesy:
    """Sleeps, when called, in proportion to what was computed since it was called last."""

    def __init__(
        self,
        times: Callable[[], tuple[float, float]] = run_and_waited,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._times = times
        self._sleep = sleep
        self._last = times()

    def __call__(self) -> None:
        """Give way, if somebody else wants the cores."""
        ran, waited = (now - before for now, before in zip(self._times(), self._last, strict=True))
        if ran + waited < WINDOW_SECONDS:
            return
        if waited > LONG * ran:
            self._sleep(min((ran + waited) * (1 / SHARE - 1), LONGEST_SECONDS))
        self._last = self._times()


def between_layers(network: Any, call: Callable[[], None]) -> None:
    """Have something called before each layer of a Llama computes, and before its gradient does."""

    def on_the_way(_layer: Any, inputs: tuple[Any, ...], _named: Any) -> None:
        call()
        if inputs and inputs[0].requires_grad:
            inputs[0].register_hook(lambda _gradient: call())

    for layer in network.get_base_model().model.layers:
        layer.register_forward_pre_hook(on_the_way, with_kwargs=True)
