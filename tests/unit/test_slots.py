"""Slots: bounded bytes, least recently used first, never a pinned one."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from specialists.engine.lora import AdapterWeights, Expand, GroupLora
from specialists.engine.slots import SlotPool


def put(pool, name, size):
    """Reserve and fill at once; whether there was room."""
    if name in pool:
        return True
    if not pool.reserve(name, size):
        return False
    pool.fill(name, weights(size))
    return True


def weights(size):
    """An adapter of `size` bytes (a multiple of 8)."""
    half = torch.zeros(size // 8)
    return AdapterWeights(({"qkv": GroupLora(half, (Expand(slice(0), slice(0), half),))},))


def test_the_least_recently_used_makes_room():
    pool = SlotPool(200)
    for name in "ab":
        assert put(pool, name, 80)
    pool.pin("a")
    pool.unpin("a")
    assert put(pool, "c", 80)
    assert list(pool.resident()) == ["a", "c"]


def test_a_pinned_adapter_stays():
    pool = SlotPool(100)
    assert put(pool, "a", 80)
    pool.pin("a")
    assert not put(pool, "b", 80)
    pool.unpin("a")
    assert put(pool, "b", 80)
    assert list(pool.resident()) == ["b"]


def test_an_adapter_above_the_budget_is_served_alone():
    pool = SlotPool(100)
    assert put(pool, "a", 80)
    assert put(pool, "huge", 800)
    assert list(pool.resident()) == ["huge"]


def test_what_is_being_loaded_has_its_room_and_stays():
    pool = SlotPool(100)
    assert pool.reserve("a", 80)
    assert ("a" in pool, pool.used, pool.resident()) == (False, 80, {})
    assert not pool.reserve("b", 80)
    pool.fill("a", weights(80))
    assert "a" in pool
    assert pool.reserve("b", 80)
    pool.release("b")
    assert pool.used == 0


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from(["put", "pin", "unpin"]))))
def test_pins_and_budget_hold_whatever_happens(moves):
    pool, pins = SlotPool(240), dict.fromkeys("abcdef", 0)
    for name, move in moves:
        if move == "put":
            put(pool, name, 80)
        elif move == "pin" and name in pool:
            pool.pin(name)
            pins[name] += 1
        elif move == "unpin" and pins[name]:
            pool.unpin(name)
            pins[name] -= 1
        pool.check_integrity({key: count for key, count in pins.items() if count})
        assert pool.used <= 240
