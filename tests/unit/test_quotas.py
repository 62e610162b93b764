"""Quotas of keys: as fast as they may be, on any number of replicas, whatever clients do."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.quota import Quota
from router import quotas as module
from router.engine import Delta, Usage
from router.errors import RateLimited
from router.keyring import ANYONE, Caller
from router.quotas import Bucket, Quotas


class Clock:
    """The time, as a test says."""

    now = 0.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def caller(key="k", **bounds):
    return Caller("ada", frozenset(), key, Quota(**bounds))


def test_a_minutes_requests_at_once_and_then_one_by_one(clock):
    quotas, ada = Quotas(), caller(requests_per_minute=6)
    for _ in range(6):
        quotas.admit(ada)
    with pytest.raises(RateLimited, match="6 requests") as caught:
        quotas.admit(ada)
    assert caught.value.headers == {"Retry-After": "10"}
    quotas.admit(caller("other", requests_per_minute=6))
    clock.now = 10.0
    quotas.admit(ada)
    with pytest.raises(RateLimited):
        quotas.admit(ada)
    clock.now = 10_000.0
    assert quotas.headers(ada)["x-ratelimit-remaining-requests"] == "0"
    for _ in range(6):
        quotas.admit(ada)
    with pytest.raises(RateLimited):
        quotas.admit(ada)


def test_nobody_in_particular_is_not_bounded(clock):
    quotas = Quotas()
    for _ in range(1000):
        quotas.admit(ANYONE)
    quotas.used(ANYONE, 10**9)
    assert quotas.headers(ANYONE) == {}


def test_tokens_may_be_overdrawn_once(clock):
    quotas, ada = Quotas(), caller(tokens_per_minute=600)
    quotas.admit(ada)
    quotas.used(ada, 1200)
    with pytest.raises(RateLimited, match="600 tokens") as caught:
        quotas.admit(ada)
    assert caught.value.retry_after == pytest.approx(60.1)
    assert quotas.headers(ada) == {
        "x-ratelimit-limit-tokens": "600", "x-ratelimit-remaining-tokens": "0",
    }  # fmt: skip
    clock.now = 61.0
    quotas.admit(ada)


def test_replicas_share_a_quota(clock):
    replicas, ada = [Quotas(3) for _ in range(3)], caller(requests_per_minute=6)
    for replica in replicas * 2:
        replica.admit(ada)
    for replica in replicas:
        with pytest.raises(RateLimited):
            replica.admit(ada)
        assert replica.headers(ada)["x-ratelimit-limit-requests"] == "6"
    Quotas(3).admit(caller(requests_per_minute=1))


def test_only_so_many_keys_are_remembered(clock, monkeypatch):
    monkeypatch.setattr(module, "KNOWN", 3)
    quotas = Quotas()
    for key in range(10):
        quotas.admit(caller(str(key), requests_per_minute=1))
    assert len(quotas._buckets) == 3
    with pytest.raises(RateLimited):
        quotas.admit(caller("9", requests_per_minute=1))


async def items(*found):
    for each in found:
        yield each


def metered(*found, reserved=100, read=None):
    """What is left of 1000 tokens after an answer, of which so many items were read."""

    async def work():
        quotas, ada = Quotas(), caller(tokens_per_minute=1000)
        counted = quotas.metered(ada, items(*found), reserved)
        for _ in range(len(found) if read is None else read):
            await anext(counted)
        await counted.aclose()
        return int(quotas.headers(ada)["x-ratelimit-remaining-tokens"])

    return asyncio.run(work())


def test_an_answer_costs_its_tokens(clock):
    answer = [Delta(0, "a", 1), Delta(0, "b", 2), Usage(50, 3)]
    assert metered(*answer) == 1000 - 53
    assert metered(*answer, reserved=0) == 1000 - 53
    assert metered(*answer, read=2) == 1000 - 3
    assert metered(Delta(0, "", 0), Usage(0, 0), read=1) == 900


def test_answers_that_run_reserve_what_they_may_take(clock):
    async def work():
        quotas, ada = Quotas(), caller(tokens_per_minute=100)
        running = quotas.metered(ada, items(Delta(0, "a", 1), Usage(1, 1)), 200)
        await anext(running)
        with pytest.raises(RateLimited):
            quotas.admit(ada)
        await anext(running)
        await running.aclose()
        quotas.admit(ada)

    asyncio.run(work())


@given(st.lists(st.tuples(st.floats(0, 100), st.integers(-50, 50))), st.floats(1, 1000))
def test_a_bucket_is_never_more_than_full(steps, per_minute):
    with pytest.MonkeyPatch.context() as patch:
        clock = Clock()
        patch.setattr(module, "time", clock)
        bucket = Bucket(per_minute)
        for seconds, amount in steps:
            clock.now += seconds
            bucket.take(amount)
            assert bucket.level <= per_minute
            wait = bucket.wait(1.0)
            clock.now += wait
            assert bucket.wait(1.0) == pytest.approx(0.0, abs=1e-3)
