"""Slots: bounded bytes, least recently used first, never a pinned one."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from specialists.engine.lora import AdapterWeights, Expand, GroupLora
from specialists.engine.slots import SlotPool


def weights(size):
    """An adapter of `size` bytes (a multiple of 8)."""
    half = torch.zeros(size // 8)
    return AdapterWeights(({"qkv": GroupLora(half, (Expand(slice(0), slice(0), half),))},))


def test_the_least_recently_used_makes_room():
    pool = SlotPool(200)
    for name in "ab":
        assert pool.put(name, weights(80))
    pool.pin("a")
    pool.unpin("a")
    assert pool.put("c", weights(80))
    assert list(pool.resident()) == ["a", "c"]


def test_a_pinned_adapter_stays():
    pool = SlotPool(100)
    assert pool.put("a", weights(80))
    pool.pin("a")
    assert not pool.put("b", weights(80))
    pool.unpin("a")
    assert pool.put("b", weights(80))
    assert list(pool.resident()) == ["b"]


def test_an_adapter_above_the_budget_is_served_alone():
    pool = SlotPool(100)
    assert pool.put("a", weights(80))
    assert pool.put("huge", weights(800))
    assert list(pool.resident()) == ["huge"]


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from(["put", "pin", "unpin"]))))
def test_pins_and_budget_hold_whatever_happens(moves):
    pool, pins = SlotPool(240), dict.fromkeys("abcdef", 0)
    for name, move in moves:
        if move == "put":
            pool.put(name, weights(80))
        elif move == "pin" and name in pool:
            pool.pin(name)
            pins[name] += 1
        elif move == "unpin" and pins[name]:
            pool.unpin(name)
            pins[name] -= 1
        pool.check_integrity({key: count for key, count in pins.items() if count})
        assert pool.used <= 240
