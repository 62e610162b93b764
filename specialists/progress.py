"""How long work tells where it is."""

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called with what is being done, the steps done, and the steps in all."""


def silent(_doing: str, _done: int, _steps: int) -> None:
    """Progress that nobody reads."""
