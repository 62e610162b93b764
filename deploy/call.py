"""A generation on its way to one of the engine replicas."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from router.engine import Generation


@dataclass(slots=True)
class Call:
    """A generation; the request router writes down where it sends it.

    Attributes:
        generation: what is to be answered.
        tried: replicas that have refused it or were lost.
        replica: where it went.
        choices: replicas that there were to choose from.
        trace: the span that the call is part of, as headers; empty where none is recorded.
    """

    generation: Generation
    tried: frozenset[str] = frozenset()
    replica: str = ""
    choices: int = 0
    trace: Mapping[str, str] = field(default_factory=dict)

    @property
    def exhausted(self) -> bool:
        """Whether every replica was tried."""
        return len(self.tried | {self.replica}) >= self.choices

    def elsewhere(self) -> "Call":
        """The same once more, at another replica if there is one."""
        return Call(self.generation, self.tried | {self.replica}, trace=self.trace)
