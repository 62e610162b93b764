"""What answers take, counted while they are sent, until the registry is told."""

from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass

from registry.clock import now
from registry.usage import Account, Amount
from router.engine import Delta, Items, Usage
from router.keyring import Caller

MOST = 100_000
"""Accounts that are remembered while the registry cannot be told."""


@dataclass(slots=True)
class Spent:
    """What came of an answer so far."""

    usage: Usage | None = None
    sent: int = 0

    def add(self, item: Delta | Usage) -> None:
        """Count an item."""
        if isinstance(item, Usage):
            self.usage = item
        else:
            self.sent += item.tokens

    @property
    def tokens(self) -> int:
        """Of the prompt and of the answer; of one that was broken off those that were sent."""
        if self.usage is None:
            return self.sent
        return self.usage.prompt_tokens + self.usage.completion_tokens

    @property
    def amount(self) -> Amount:
        """The same, for the registry; nothing before the first item."""
        if self.usage is None:
            return Amount(int(self.sent > 0), completion_tokens=self.sent)
        used = self.usage
        return Amount(1, used.prompt_tokens, used.cached_tokens, used.completion_tokens)


class Spending:
    """Amounts by account. For one event loop."""

    def __init__(self) -> None:
        self._counted: dict[Account, Amount] = {}

    async def counted(self, caller: Caller, model: str, items: Items) -> Items:
        """The same items of an answer by `model`; what they come to is put down to the caller."""
        spent = Spent()
        try:
            async with aclosing(items):
                async for item in items:
                    spent.add(item)
                    yield item
        finally:
            account = Account(now().date(), model, caller.key, caller.owner)
            self.add({account: spent.amount})

    def add(self, more: Mapping[Account, Amount]) -> None:
        """Put amounts down; of too many accounts those that are new are left out."""
        for account, amount in more.items():
            if amount.requests and (account in self._counted or len(self._counted) < MOST):
                self._counted[account] = self._counted.get(account, Amount()) + amount

    def drain(self) -> dict[Account, Amount]:
        """What was put down since this was asked last."""
        counted, self._counted = self._counted, {}
        return counted
