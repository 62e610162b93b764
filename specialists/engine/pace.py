"""How fast an engine is, as it measures itself while it works."""

KEPT = 0.99
"""Of what was measured before, at every new measurement."""
SLOWDOWN = 1.8
"""Of a step, that a row may suffer from others' prompts, or from another tenant's rows."""
LEVEL = 4.0
"""Squared rows: where steps hardly differ in their rows, none of their time is put down to rows."""


class Mean:
    """A mean of which older values count less."""

    def __init__(self, assumed: float) -> None:
        """Start from what is assumed until something is measured."""
        self.value = assumed
        self._weight = 0.0

    def add(self, value: float) -> None:
        """Take in a value."""
        self._weight = KEPT * self._weight + 1
        self.value += (value - self.value) / self._weight


class Line:
    """A line through points of which older ones count less, by least squares with a ridge."""

    def __init__(self) -> None:
        self._weight = self._x = self._y = self._xx = self._xy = 0.0

    def add(self, x: float, y: float) -> None:
        """Take in a point."""
        self._weight = KEPT * self._weight + 1
        gain = 1 / self._weight
        self._x += gain * (x - self._x)
        self._y += gain * (y - self._y)
        self._xx += gain * (x * x - self._xx)
        self._xy += gain * (x * y - self._xy)

    @property
    def slope(self) -> float:
        """What one more of x adds, never less than nothing."""
        return max((self._xy - self._x * self._y) / (self._xx - self._x**2 + LEVEL), 0.0)

    @property
    def start(self) -> float:
        """The value at x = 0, never less than nothing."""
        return max(self._y - self.slope * self._x, 0.0)


class Pace:
    """What a step, a load and an answer take here. For one thread to write and any to read."""

    def __init__(self) -> None:
        self._steps = Line()
        self._load = Mean(0.1)
        self._answer = Mean(64.0)
        self._prompt = Mean(0.0)
        self.loads = 0
        """Adapters that became resident."""

    def stepped(self, rows: int, seconds: float) -> None:
        """A step computed one token for each of so many rows."""
        self._steps.add(rows, seconds)

    def prompted(self, tokens: int, rows: int, seconds: float) -> None:
        """A step computed so many tokens of prompts beside one for each of so many rows."""
        spare = seconds - self._decoding(rows)
        if spare > 0:
            self._prompt.add(spare / tokens)

    def prompt_tokens_beside(self, rows: int) -> int | None:
        """Tokens of prompts that keep a step of so many rows within `SLOWDOWN`; None is unknown."""
        if not rows or not self._prompt.value:
            return None
        return int((SLOWDOWN - 1) * self._decoding(rows) / self._prompt.value)

    def rows_beside(self, rows: int) -> int | None:
        """Rows whose step takes no more than `SLOWDOWN` times that of so many; None is unknown."""
        start, slope = self.step_seconds
        if not slope:
            return None
        return int((SLOWDOWN * (start + slope * rows) - start) / slope)

    def loaded(self, seconds: float) -> None:
        """An adapter became resident so long after it was first wanted."""
        self.loads += 1
        self._load.add(seconds)

    def answered(self, tokens: int) -> None:
        """An answer ended after so many tokens."""
        self._answer.add(tokens)

    def _decoding(self, rows: int) -> float:
        start, slope = self.step_seconds
        return start + slope * rows if rows else 0.0

    @property
    def step_seconds(self) -> tuple[float, float]:
        """Of a step: without any row, and what each row adds."""
        return self._steps.start, self._steps.slope

    @property
    def load_seconds(self) -> float:
        """Until an adapter is resident."""
        return self._load.value

    @property
    def answer_tokens(self) -> float:
        """Of an answer."""
        return self._answer.value
