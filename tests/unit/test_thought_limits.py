"""A replica's answers are thought over, and no longer than they may be."""

import asyncio
from contextlib import closing

import pytest
from engines import SMALL
from texts import Parts
from thinking import OPENED
from tiny import tiny_base
from transformers import AddedToken, AutoTokenizer, LlamaForCausalLM

from deploy.engine_replica import EngineReplica
from router.engine import Generation, Message, Rules, joined
from router.pool import Pool
from router.sampling import Sampling
from specialists.engine.runner import Runner
from specialists.engine.text_stream import TextStream
from specialists.engine.thought_budget import ThoughtBudget
from specialists.engine.thoughts import ThoughtReader

ASKED = Message("user", "hello")


class Replica(EngineReplica):
    """A replica of an engine that is there."""

    def __init__(self, backend):
        self._backend = backend
        self._compiling = Pool("grammars", 1)

    def __del__(self):
        pass


@pytest.fixture(scope="module")
def replica(tmp_path_factory):
    """Of a base whose marks are tokens, and which opens its thoughts."""
    folder = tiny_base(tmp_path_factory.mktemp("base"), context=1024).folder
    theirs = AutoTokenizer.from_pretrained(folder)
    theirs.add_tokens([AddedToken(mark, normalized=False) for mark in ("<think>", "</think>")])
    theirs.chat_template = OPENED
    theirs.save_pretrained(folder)
    network = LlamaForCausalLM.from_pretrained(folder)
    network.resize_token_embeddings(len(theirs))
    network.save_pretrained(folder)
    with closing(Runner.from_folder(folder, {}.__getitem__, SMALL, max_waiting=4)) as runner:
        yield Replica(runner)


def answered(replica, **fields):
    """What a replica's answer to a chat gathers to."""
    asked = Generation("id", None, (ASKED,), **fields)

    async def gathered():
        deltas = [item async for item in replica._answer(asked)]
        return joined(deltas[:-1])[0], deltas[-1]

    return asyncio.run(gathered())


def test_a_replica_thinks_then_answers_as_is_wanted(replica):
    tokenizer = replica._backend.tokenizer
    [mark] = tokenizer.encode_part("</think>")
    [a] = tokenizer.encode_part("a")
    closes = Sampling(max_tokens=40, logit_bias=((mark, 100.0),), temperature=0.0)
    rules = Rules("choice", '["yes", "yes, of course"]')
    delta, usage = answered(replica, sampling=closes, rules=rules)
    assert delta.thought == ""
    assert delta.text.startswith("yes")
    assert usage.thought_tokens == 1
    thinks = Sampling(max_tokens=5, logit_bias=((a, 100.0),), temperature=0.0)
    delta, usage = answered(replica, sampling=thinks, rules=rules)
    assert (delta.thought, delta.text, delta.finish_reason) == ("aaaaa", "", "length")
    assert usage.thought_tokens == usage.completion_tokens == 5
    delta, usage = answered(replica, sampling=thinks, most_thought=0)
    assert (delta.thought, delta.text, usage.thought_tokens) == ("", "aaaaa", 0)


@pytest.mark.parametrize("rules", [None, Rules("choice", '["yes", "yes, of course"]')])
def test_thoughts_end_when_their_budget_is_spent(replica, rules):
    tokenizer = replica._backend.tokenizer
    letters = tuple((tokenizer.encode_part(each)[0], bias) for each, bias in (("a", 50), ("y", 40)))
    likely = Sampling(max_tokens=20, logit_bias=letters, temperature=0.0)
    delta, usage = answered(replica, sampling=likely, rules=rules, most_thought=3)
    assert delta.thought == "aaa"
    assert delta.text.startswith("yes" if rules else "aaaa")
    assert usage.thought_tokens == 3 + len(tokenizer.encode_part("\n</think>"))


def spending(most, parts, *, opened):
    """Which tokens were forced beside those that came, each one of `parts`."""
    text = TextStream(Parts(parts), (), ThoughtReader(thinking=opened))
    budget = ThoughtBudget(most, [90, 91], text)
    forced = []
    for token in range(len(parts)):
        while (must := budget.forced) is not None:
            forced.append((token, must))
            budget.accept(must)
        budget.accept(token)
        text.push(token)
    return forced


@pytest.mark.parametrize(
    ("most", "parts", "opened", "forced"),
    [
        (2, "abcd", True, [(2, 90), (2, 91)]),
        (9, "abcd", True, []),
        (4, "abcd", True, []),
        (1, ["a</think>", "b", "c"], True, []),
        (2, ["a", "</think>", "c"], True, []),
        (1, ["a", "</think>", "c"], True, [(1, 90), (1, 91)]),
        (1, "abcd", False, []),
        (1, ["<think>", "a", "b"], False, [(2, 90), (2, 91)]),
    ],
)
def test_what_closes_thoughts_comes_once_and_only_where_they_are_too_long(
    most, parts, opened, forced
):
    assert spending(most, parts, opened=opened) == forced


def test_where_no_thoughts_are_wanted_a_form_lets_none_pass(replica):
    tokenizer = replica._backend.tokenizer
    [opening] = tokenizer.encode_part("<think>")
    likely = Sampling(max_tokens=40, logit_bias=((opening, 100.0),), temperature=0.0)
    rules = Rules("choice", '["yes", "yes, of course"]')
    delta, usage = answered(replica, sampling=likely, rules=rules, most_thought=0)
    assert (delta.thought, delta.text[:3], usage.thought_tokens) == ("", "yes", 0)
