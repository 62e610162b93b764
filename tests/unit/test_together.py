"""Nothing that is waited for together goes on when one has failed."""

import asyncio

import pytest

from specialists.together import together


async def after(turns, found):
    for _ in range(turns):
        await asyncio.sleep(0)
    return found


def test_results_come_in_the_order_of_what_was_asked():
    assert asyncio.run(together(after(3 - n, n) for n in range(3))) == [0, 1, 2]
    assert asyncio.run(together([])) == []


def test_the_first_failure_is_raised_when_the_others_have_ended():
    ended = []

    async def never(name):
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append(name)

    async def fails():
        raise KeyError("why")

    async def asking():
        with pytest.raises(KeyError, match="why"):
            await together([never("first"), fails(), never("last")])
        return asyncio.all_tasks() - {asyncio.current_task()}

    assert asyncio.run(asking()) == set()
    assert sorted(ended) == ["first", "last"]
