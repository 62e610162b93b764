"""What was computed once is not computed again, and never for anybody else."""

from collections import Counter

import pytest
import torch
from engines import engine, make_adapters, run, sequence
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from tiny import tiny_base

from specialists.engine.engine import EngineOptions
from specialists.engine.pages import PAGE_TOKENS, PagePool, page_keys

SYSTEM = list(range(5, 5 + 4 * PAGE_TOKENS))
QUESTION, OTHER = [7, 8, 9], [9, 8, 7, 6]
OPTIONS = {
    name: EngineOptions(weights=name, kv_bytes=1 << 20, step_tokens=64)
    for name in ("float32", "int8")
}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_base(tmp_path_factory.mktemp("base"), context=2048)


@pytest.fixture(scope="module")
def adapters(base, tmp_path_factory):
    return make_adapters(base, tmp_path_factory.mktemp("adapters"), {name: {} for name in "01"})


@pytest.fixture(params=OPTIONS)
def made(base, adapters, request):
    made = engine(base, adapters, OPTIONS[request.param])
    yield made
    made.close()


def answer(made, prompt, adapter=None, tenant=None, **params):
    row, emissions = sequence(made, prompt, adapter, tenant=tenant, **params)
    run(made)
    return row, [each.choice.token for each in emissions]


def alone(base, adapters, made, prompt, adapter=None):
    """The same by an engine that has computed nothing before."""
    name = "int8" if "Native" in type(made._network).__name__ else "float32"
    other = engine(base, adapters, OPTIONS[name])
    found = answer(other, prompt, adapter)[1]
    other.close()
    return found


@pytest.mark.parametrize("adapter", [None, "0"])
def test_a_prefix_is_computed_once_and_answers_stay_the_same(base, adapters, made, adapter):
    first, _ = answer(made, SYSTEM + QUESTION, adapter)
    prompted = made.stats()["prompt_tokens_total"]
    second, tokens = answer(made, SYSTEM + OTHER, adapter)
    assert (first.cached, second.cached) == (0, len(SYSTEM))
    assert made.stats()["prompt_tokens_total"] - prompted == len(OTHER)
    assert tokens == alone(base, adapters, made, SYSTEM + OTHER, adapter)


def test_a_conversation_goes_on_from_its_own_answer(made):
    row, _ = answer(made, SYSTEM + QUESTION, max_tokens=40)
    further, _ = answer(made, row.tokens + QUESTION)
    assert further.cached == (len(row.tokens) - 1) // PAGE_TOKENS * PAGE_TOKENS


def test_the_same_prompt_leaves_one_token_to_compute(made):
    for length in (PAGE_TOKENS - 1, PAGE_TOKENS, PAGE_TOKENS + 1, 2 * PAGE_TOKENS):
        prompt = [length] * length
        first, tokens = answer(made, prompt)
        again, same = answer(made, prompt)
        assert first.cached == 0
        assert again.cached == (length - 1) // PAGE_TOKENS * PAGE_TOKENS
        assert tokens == same


def test_nothing_is_shared_across_adapters_or_tenants(base, adapters, made):
    for adapter, tenant in (None, None), ("0", None), ("1", None), (None, "ada"), ("0", "ada"):
        row, tokens = answer(made, SYSTEM + QUESTION, adapter, tenant)
        assert row.cached == 0, (adapter, tenant)
        assert tokens == alone(base, adapters, made, SYSTEM + QUESTION, adapter)
        assert answer(made, SYSTEM + QUESTION, adapter, tenant)[0].cached == len(SYSTEM)


def test_many_that_begin_alike_wait_for_the_first_to_compute_it(made):
    rows = [sequence(made, SYSTEM + [each] * 5)[0] for each in range(8)]
    run(made)
    assert [row.cached for row in rows] == [0, *[len(SYSTEM)] * 7]
    assert made.stats()["prompt_tokens_total"] == len(SYSTEM) + 8 * 5


def test_whoever_waits_for_one_that_leaves_goes_on_alone(made):
    first, _ = sequence(made, SYSTEM * 3 + QUESTION)
    second, emissions = sequence(made, SYSTEM * 3 + OTHER)
    made.step()
    assert second.computed == 0
    made.abort(first)
    run(made)
    assert emissions[-1].finish is not None
    # What the first had computed by then is there.
    assert second.cached == 64


def test_a_row_that_stepped_back_goes_on_from_what_it_had(base):
    made = engine(base, {}, EngineOptions(weights="float32", kv_bytes=12 * 4096))
    rows = [sequence(made, [each] * 40, max_tokens=60)[0] for each in range(5, 8)]
    run(made)
    assert made.stats()["cached_tokens_total"] > 0
    # It is the prompt that is told of, as it was at first.
    assert all(row.cached == 0 for row in rows)
    assert made.stats()["pages_free"] == made.stats()["pages"]
    made.close()


def test_a_step_that_fails_publishes_nothing(base):
    made = engine(base, {}, OPTIONS["float32"])
    sequence(made, SYSTEM + QUESTION)
    forward, made._network.forward = made._network.forward, torch.cat
    with pytest.raises(TypeError):
        made.step()
    made._network.forward = forward
    made.fail_all(ValueError("x"))
    made.check_integrity()
    assert answer(made, SYSTEM + QUESTION)[0].cached == 0
    made.close()


def test_keys_are_of_all_that_came_before():
    tokens = list(range(100))
    keys = page_keys(b"s", tokens)
    assert len(keys) == 100 // PAGE_TOKENS
    assert page_keys(b"s", tokens, keys[:2]) == keys
    assert page_keys(b"s", tokens[:50]) == keys[: 50 // PAGE_TOKENS]
    for other in page_keys(b"t", tokens), page_keys(b"s", [1, *tokens[1:]]):
        assert not {*other} & {*keys}


class Pool(RuleBasedStateMachine):
    """Pages are held by whom they were given to, whatever is taken, published and given back."""

    def __init__(self):
        super().__init__()
        self.pool = PagePool(8)
        self.held = []
        self.published = {}

    @rule(count=st.integers(0, 4))
    def allocate(self, count):
        if count <= self.pool.available:
            pages = self.pool.allocate(count)
            # What somebody holds is given to nobody else.
            assert not {*pages} & {page for each in self.held for page in each}
            self.held.append(pages)
            self.published = {k: p for k, p in self.published.items() if p not in pages}

    @rule(key=st.integers(0, 5), data=st.data())
    def publish(self, key, data):
        if pages := [page for each in self.held for page in each]:
            page = data.draw(st.sampled_from(pages))
            self.pool.publish(page, bytes([key]))
            if key not in self.published and page not in self.published.values():
                self.published[key] = page

    @rule(keys=st.lists(st.integers(0, 5), max_size=3))
    def take(self, keys):
        taken = self.pool.take([bytes([key]) for key in keys])
        expected = [self.published.get(key) for key in keys]
        there = expected.index(None) if None in expected else len(expected)
        assert taken == expected[:there]
        self.held.append(taken)

    @rule(data=st.data())
    def free(self, data):
        if self.held:
            at = data.draw(st.integers(0, len(self.held) - 1))
            self.pool.free(self.held.pop(at))

    @invariant()
    def adds_up(self):
        held = [page for each in self.held for page in each]
        self.pool.check_integrity(held)
        assert self.pool.available == 8 - len(Counter(held))


Pool.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestPool = Pool.TestCase
