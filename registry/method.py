"""By which method is trained, in words that every package knows."""

from typing import Literal

Method = Literal["supervised", "dpo"]
"""From chats, whose answers are learnt, or from pairs, of whose answers one is preferred."""
