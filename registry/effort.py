"""How much effort goes into a specialist: the one dial of its training."""

from typing import Literal

Effort = Literal["quick", "standard", "thorough"]
