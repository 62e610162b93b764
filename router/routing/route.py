"""A specialist as routing knows it."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from registry.traits import Traits
from registry.version import Canary
from registry.view import Visibility
from router.routing.compact import Compact
from router.routing.encoder import Vectors
from router.routing.filters import marks


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """A specialist's live version and the vectors of its examples, at least one.

    `since` is when the specialist was first registered, in Unix seconds; `canary` is a version that
    some of its requests get instead; `visibility` says whom it may be chosen for; `traits` are what
    requests may ask for.
    """

    specialist: str
    version: int
    digest: str
    rows: Compact = field(repr=False)
    since: float = 0.0
    canary: Canary | None = None
    visibility: Visibility = Visibility.PUBLIC
    traits: Traits = field(default_factory=Traits)

    @property
    def vectors(self) -> Vectors:
        """The examples' unit vectors, float32 [rows, dimensions]; made anew each time."""
        return self.rows.floats()

    @property
    def owner(self) -> str:
        """Whose it is."""
        return self.specialist.partition("/")[0]

    def answers(self, owner: str | None) -> bool:
        """Whether it may be named by whoever owns this; None may name all."""
        return self.visibility != Visibility.PRIVATE or owner in (None, self.owner)

    @property
    def marks(self) -> Iterable[str]:
        """What it is filtered by."""
        return marks(self.owner, self.visibility == Visibility.PUBLIC, self.traits)
