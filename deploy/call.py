"""A generation on its way to one of the engine replicas."""

from dataclasses import dataclass

from router.engine import Generation


@dataclass(slots=True)
class Call:
    """A generation; the request router writes down where it sends it.

    Attributes:
        generation: what is to be answered.
        tried: replicas that have refused it or were lost.
        replica: where it went.
        choices: replicas that there were to choose from.
    """

    generation: Generation
    tried: frozenset[str] = frozenset()
    replica: str = ""
    choices: int = 0

    @property
    def exhausted(self) -> bool:
        """Whether every replica was tried."""
        return len(self.tried | {self.replica}) >= self.choices

    def elsewhere(self) -> "Call":
        """The same once more, at another replica if there is one."""
        return Call(self.generation, self.tried | {self.replica})
