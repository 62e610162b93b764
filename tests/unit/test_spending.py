"""What answers take is counted however they end, and told once."""

import asyncio
from contextlib import aclosing, suppress

import pytest

from registry.errors import StorageError
from registry.usage import Account, Amount
from router import spending as module
from router.engine import Delta, Usage
from router.keyring import Caller
from router.news import News
from router.pool import Pool
from router.spending import Spending

ADA = Caller("ada", frozenset(), "k1")
DELTAS = [Delta(0, "a", 1), Delta(0, "bc", 2)]


async def made(items):
    for item in items:
        if isinstance(item, Exception):
            raise item
        yield item


def spent(*items, read=None):
    """What comes of an answer of which so many items are read."""
    spending = Spending()

    async def answer():
        async with aclosing(spending.counted(ADA, "base", made(items))) as counted:
            for _ in range(len(items) if read is None else read):
                await anext(counted)

    with suppress(OSError):
        asyncio.run(answer())
    return {(each.model, each.key, each.owner): amount for each, amount in spending.drain().items()}


@pytest.mark.parametrize(
    ("items", "read", "amount"),
    [
        ([*DELTAS, Usage(7, 3, 4)], None, Amount(1, 7, 4, 3)),
        ([*DELTAS, Usage(7, 3, 4)], 2, Amount(1, 0, 0, 3)),
        ([*DELTAS, OSError()], None, Amount(1, 0, 0, 3)),
        ([Usage(7, 0)], None, Amount(1, 7, 0, 0)),
    ],
    ids=["whole", "left", "failed", "empty"],
)
def test_what_was_sent_counts_and_the_prompt_once_it_is_known(items, read, amount):
    assert spent(*items, read=read) == {("base", "k1", "ada"): amount}


def test_what_was_not_begun_counts_for_nothing():
    assert spent(OSError()) == {}


def test_what_was_told_is_not_told_again():
    spending = Spending()
    spending.add({Account(None, "base"): Amount(1)})
    assert spending.drain()
    assert not spending.drain()


def test_of_too_many_accounts_new_ones_are_left_out(monkeypatch):
    monkeypatch.setattr(module, "MOST", 2)
    spending = Spending()
    for number in (0, 1, 2, 1):
        spending.add({Account(None, f"model {number}"): Amount(1)})
    assert [amount.requests for amount in spending.drain().values()] == [1, 2]


class Forgetful:
    """A registry that cannot be told at first."""

    def __init__(self, failures):
        self.told, self._failures = [], failures
        self.ledger = self

    def note(self, used):
        if self._failures:
            self._failures -= 1
            raise StorageError("gone")
        self.told.append(used)


def test_what_cannot_be_told_is_told_later_and_said_once(caplog):
    registry, writing, account = Forgetful(failures=2), Pool("writing", 1), Account(None, "base")
    news = News(registry, writing)

    async def tell():
        for _ in range(3):
            news.spending.add({account: Amount(1)})
            await news.tell()

    asyncio.run(tell())
    writing.close()
    assert registry.told == [{account: Amount(3)}]
    assert [record.message for record in caplog.records] == ["what is used is put down later: gone"]
