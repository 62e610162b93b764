"""Slots: the adapters that are resident in an engine, or have room kept for them."""

from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar


class Resident(Protocol):
    """An adapter in memory."""

    @property
    def nbytes(self) -> int:
        """Bytes that it takes."""


Weights = TypeVar("Weights", bound=Resident)


@dataclass(slots=True)
class Slot(Generic[Weights]):
    """Room for an adapter, and the number of rows that use it; no weights while it is loaded."""

    nbytes: int
    weights: Weights | None = None
    pins: int = 0

    @property
    def idle(self) -> bool:
        """Whether it may be evicted."""
        return self.weights is not None and not self.pins


class SlotPool(Generic[Weights]):
    """Adapters within a byte budget; the least recently used make room.

    Room is reserved before an adapter is loaded, so that what is loaded is within the budget too.
    Invariant: an adapter that is pinned, or being loaded, is never evicted.
    """

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.used = 0
        """Bytes of all slots."""
        self.evicted = 0
        """Adapters that made room for others."""
        self._slots: OrderedDict[str, Slot[Weights]] = OrderedDict()

    def __contains__(self, digest: str) -> bool:
        """Whether an adapter can be used now."""
        slot = self._slots.get(digest)
        return slot is not None and slot.weights is not None

    def __getitem__(self, digest: str) -> Weights:
        weights = self._slots[digest].weights
        if weights is None:
            raise KeyError(digest)
        return weights

    @property
    def full(self) -> bool:
        """Whether another adapter of the mean size would make others go."""
        return self.used + self.used / max(len(self._slots), 1) > self.budget

    def pin(self, digest: str) -> None:
        """Keep a resident adapter until it is unpinned as often as it was pinned."""
        self._slots[digest].pins += 1
        self._slots.move_to_end(digest)

    def unpin(self, digest: str) -> None:
        """Take one pin back."""
        self._slots[digest].pins -= 1

    def reserve(self, digest: str, nbytes: int, keep: Collection[str] = frozenset()) -> bool:
        """Keep room for an adapter that is to be loaded, evicting idle ones.

        Args:
            digest: its version's.
            nbytes: what it will take.
            keep: adapters that are not evicted though they are idle.

        Returns:
            False when those that must stay leave no room.
        """
        idle = [name for name, slot in self._slots.items() if slot.idle and name not in keep]
        room = self.budget - self.used
        victims = []
        while room < nbytes and idle:
            victims.append(idle.pop(0))
            room += self._slots[victims[-1]].nbytes
        # An adapter larger than the whole budget still gets its turn, alone.
        if room < nbytes and len(victims) < len(self._slots):
            return False
        for victim in victims:
            self.release(victim)
        self.evicted += len(victims)
        self._slots[digest] = Slot(nbytes)
        self.used += nbytes
        return True

    def fill(self, digest: str, weights: Weights) -> None:
        """Make an adapter resident in the room that was reserved for it."""
        self._slots[digest].weights = weights

    def release(self, digest: str) -> None:
        """Give up a slot that nobody uses."""
        self.used -= self._slots.pop(digest).nbytes

    def resident(self) -> dict[str, int]:
        """Digest and pins of each resident adapter, least recently used first."""
        slots = list(self._slots.items())
        return {digest: slot.pins for digest, slot in slots if slot.weights is not None}

    def check_integrity(self, pinned: dict[str, int]) -> None:
        """Pins are exactly those of the running rows, and bytes add up.

        Raises:
            AssertionError: a pin was lost or forgotten, or bytes were.
        """
        held = {digest: pins for digest, pins in self.resident().items() if pins}
        if held != pinned:
            raise AssertionError(f"pins {held} differ from those of the rows, {pinned}")
        if self.used != sum(slot.nbytes for slot in self._slots.values()):
            raise AssertionError(f"{self.used} bytes are counted, but not held")
