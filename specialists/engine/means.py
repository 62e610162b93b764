"""A mean that follows what it is of."""

KEPT = 0.98
"""Of what was measured before, at every new measurement of the same."""


class Mean:
    """A mean of which older values count less.

    Attributes:
        value: the mean.
        count: values that were taken in.
    """

    def __init__(self, assumed: float, weight: float = 0.0, kept: float = KEPT) -> None:
        """Start from what is assumed, as if it had been measured so many times.

        Args:
            assumed: the mean until something is measured.
            weight: measurements as which that counts.
            kept: of what values before count, at every new one.
        """
        self.value = assumed
        self.count = 0
        self._weight = weight
        self._kept = kept

    def add(self, value: float) -> None:
        """Take in a value."""
        self.count += 1
        self._weight = self._kept * self._weight + 1
        self.value += (value - self.value) / self._weight
