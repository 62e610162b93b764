"""Whose view of the registry it is, and which specialists that shows."""

from dataclasses import dataclass
from enum import StrEnum

from registry.errors import NotOwned
from registry.reference import Reference


class Visibility(StrEnum):
    """Who finds a specialist besides its owner."""

    PUBLIC = "public"
    """Everyone: it is listed, and `auto` may choose it."""
    UNLISTED = "unlisted"
    """Whoever names it: it is neither listed nor chosen."""
    PRIVATE = "private"
    """Nobody: to others there is no such specialist."""


@dataclass(frozen=True, slots=True)
class View:
    """One base's specialists, as an `owner` sees them; None sees, and may change, all of them."""

    base: str
    owner: str | None = None

    def require_own(self, reference: Reference) -> None:
        """Let a specialist pass that is the owner's, whether or not it is there.

        Raises:
            NotOwned: it would be somebody else's.
        """
        if self.owner not in (None, reference.owner):
            raise NotOwned(reference.id, str(self.owner))
