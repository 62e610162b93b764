"""Slots: the adapters that are resident in an engine."""

from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass

from specialists.engine.lora import AdapterWeights


@dataclass(slots=True)
class Slot:
    """A resident adapter and the number of sequences that use it."""

    weights: AdapterWeights
    pins: int = 0


class SlotPool:
    """Resident adapters within a byte budget; the least recently used make room.

    Invariant: a pinned adapter is never evicted.
    """

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self._slots: OrderedDict[str, Slot] = OrderedDict()

    @property
    def used(self) -> int:
        """Bytes of all resident adapters."""
        return sum(slot.weights.nbytes for slot in list(self._slots.values()))

    def __contains__(self, digest: str) -> bool:
        return digest in self._slots

    def __getitem__(self, digest: str) -> AdapterWeights:
        return self._slots[digest].weights

    def pin(self, digest: str) -> None:
        """Keep a resident adapter until it is unpinned as often as it was pinned."""
        self._slots[digest].pins += 1
        self._slots.move_to_end(digest)

    def unpin(self, digest: str) -> None:
        """Take one pin back."""
        self._slots[digest].pins -= 1

    def put(
        self, digest: str, weights: AdapterWeights, keep: Collection[str] = frozenset()
    ) -> bool:
        """Make an adapter resident, evicting idle ones.

        Args:
            digest: its version's.
            weights: what becomes resident.
            keep: adapters that are not evicted though they are idle.

        Returns:
            False when those that must stay leave no room.
        """
        if digest in self._slots:
            return True
        idle = (name for name, slot in self._slots.items() if not slot.pins)
        evictable = [name for name in idle if name not in keep]
        room = self.budget - self.used
        victims = []
        while room < weights.nbytes and evictable:
            victims.append(evictable.pop(0))
            room += self._slots[victims[-1]].weights.nbytes
        # An adapter larger than the whole budget still gets its turn, alone.
        if room < weights.nbytes and len(victims) < len(self._slots):
            return False
        for victim in victims:
            del self._slots[victim]
        self._slots[digest] = Slot(weights)
        return True

    def resident(self) -> dict[str, int]:
        """Digest and pins of each resident adapter, least recently used first."""
        return {digest: slot.pins for digest, slot in list(self._slots.items())}

    def check_integrity(self, pinned: dict[str, int]) -> None:
        """Pins are exactly those of the running sequences.

        Raises:
            AssertionError: a pin was lost or forgotten.
        """
        held = {digest: pins for digest, pins in self.resident().items() if pins}
        if held != pinned:
            raise AssertionError(f"pins {held} differ from those of the sequences, {pinned}")
