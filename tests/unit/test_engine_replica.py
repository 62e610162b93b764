"""The seam between the router's engine and ours: nothing lost in translation."""

import asyncio
import gc
import inspect
import subprocess
import sys
from dataclasses import replace
from math import isnan

import pytest
from patience import HANGS
from tiny import tiny_base

from deploy.call import Call
from deploy.deltas import Deltas
from deploy.engine_replica import EngineReplica, _foretold, _prompt, _refusal
from deploy.entrance import Entrance
from deploy.nearby import ENGINES, Nearby
from deploy.replica import memory_bytes, settled
from router import errors as refusals
from router.engine import Delta, Generation, Message, Usage
from router.logprobs import unpacked
from specialists import errors
from specialists.engine.backend import Request
from specialists.engine.core import Choice, Emission, FinishReason, Logprob, SamplingParams
from specialists.engine.habits import Expected
from specialists.engine.text import Tokenizer

CASES = [
    (errors.InvalidPrompt("the prompt is empty"), refusals.InvalidRequest, 400),
    (errors.InvalidSampling("ids below 5", "logit_bias"), refusals.InvalidRequest, 400),
    (errors.ContextOverflow(9001, 8192), refusals.ContextOverflow, 400),
    (errors.Overloaded(7), refusals.Overloaded, 429),
    (errors.AdapterUnavailable("x"), refusals.Unavailable, 503),
    (errors.EngineStopped("x"), refusals.Unavailable, 503),
]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return Tokenizer.from_folder(tiny_base(tmp_path_factory.mktemp("base")).folder)


@pytest.mark.parametrize(("error", "refusal", "status"), CASES)
def test_every_error_of_the_engine_has_its_refusal(error, refusal, status):
    translated = _refusal(error)
    assert type(translated) is refusal
    assert translated.status == status


def test_no_error_of_the_engine_is_forgotten():
    every = {
        each
        for _, each in inspect.getmembers(errors, inspect.isclass)
        if issubclass(each, errors.EngineError) and each is not errors.EngineError
    }
    assert every == {type(error) for error, _, _ in CASES}


def test_numbers_and_waiting_time_survive():
    overflow, overloaded = _refusal(CASES[2][0]), _refusal(CASES[3][0])
    assert "9001" in str(overflow)
    assert "8192" in str(overflow)
    assert overloaded.retry_after == 7


def test_emissions_that_arrive_together_become_one_delta_per_row(tokenizer):
    first, second = tokenizer.encode("ab")[:2] if len(tokenizer.encode("ab")) > 1 else (10, 11)
    emissions = [
        (0, Emission(Choice(first, -0.5, (Logprob(first, -0.5),)), "a")),
        (1, Emission(Choice(first), "x")),
        (0, Emission(Choice(second, -0.7), "b", FinishReason.LENGTH)),
    ]
    deltas = {delta.index: delta for delta in Deltas(tokenizer, None, 2).of(emissions)}
    assert (deltas[0].text, deltas[0].tokens, deltas[0].finish_reason) == ("ab", 2, "length")
    told = list(unpacked(deltas[0].logprobs))
    assert [each.logprob for each in told] == [-0.5, -0.7]
    assert [each.logprob for each in told[0].top] == [-0.5]
    assert (deltas[1].text, deltas[1].finish_reason, deltas[1].logprobs) == ("x", None, ())


def scored(tokenizer, tokens):
    """Emissions of a prompt's tokens but the first, as the engine makes them."""
    return [(0, Emission(Choice(each, -1.0), "", of_prompt=True)) for each in tokens[1:]]


@pytest.mark.parametrize("text", ["hé", None])
def test_an_answer_begins_with_its_prompt_and_how_likely_that_was(tokenizer, text):
    end, prompt = next(iter(tokenizer.eos)), tokenizer.encode("hé")
    deltas = Deltas(tokenizer, None, 1)
    deltas.echo(prompt, text, logprobs=True)
    answer = (0, Emission(Choice(prompt[0], -0.5), "x", FinishReason.LENGTH))
    [delta] = deltas.of([*scored(tokenizer, [*prompt, end]), answer])
    assert (delta.text, delta.tokens, delta.finish_reason) == ("héx", 1, "length")
    told = list(unpacked(delta.logprobs))
    assert isnan(told[0].logprob)
    assert [each.logprob for each in told[1:]] == [-1.0] * len(prompt) + [-0.5]
    raw = [tokenizer.token_text(each)[1] for each in (*prompt, end, prompt[0])]
    assert [each.bytes for each in told] == raw
    assert deltas.of([(0, Emission(Choice(prompt[0]), "y"))])[0].text == "y"
    [last] = deltas.of([(0, Emission(Choice(end, -0.1), "", FinishReason.STOP))])
    assert len(last.logprobs) == 1


def test_a_prompt_alone_is_told_of(tokenizer):
    prompt = tokenizer.encode("ab")
    deltas = Deltas(tokenizer, None, 2, mute=True)
    deltas.echo(prompt, "ab", logprobs=False)
    ends = [(row, Emission(Choice(7, -0.5), "x", FinishReason.STOP)) for row in range(2)]
    for delta in deltas.of(ends):
        assert (delta.text, delta.tokens, delta.finish_reason) == ("ab", 0, "length")
        assert delta.logprobs == ()


@pytest.mark.parametrize(("came", "told"), [({}, (0, 0)), ({0: 3, 1: 0}, (3, 7)), ({0: 9}, (9, 0))])
def test_of_foretold_answers_it_is_told_how_much_came(came, told):
    request = Request("id", None, [1], 2, SamplingParams(), expected=Expected([1], [2, 3, 4, 5, 6]))
    assert _foretold(request, came) == told
    assert _foretold(replace(request, expected=None), {}) == (0, 0)


def test_the_end_of_turn_has_no_logprob_to_show(tokenizer):
    end = next(iter(tokenizer.eos))
    ended = [(0, Emission(Choice(end, -0.1), "", FinishReason.STOP))]
    [delta] = Deltas(tokenizer, None, 1, ends=tokenizer.eos).of(ended)
    assert delta.logprobs == ()
    assert delta.finish_reason == "stop"
    [delta] = Deltas(tokenizer, None, 1).of(ended)
    assert len(delta.logprobs) == 1


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("hello", lambda tokenizer: tokenizer.encode("hello")),
        ((5, 6, 7), lambda _: [5, 6, 7]),
        (
            (Message("user", "hello"),),
            lambda tokenizer: tokenizer.encode_chat([Message("user", "hello")]),
        ),
    ],
)
def test_prompts_of_all_three_kinds_become_tokens(tokenizer, prompt, expected):
    assert _prompt(Generation("id", None, prompt), tokenizer, 256) == expected(tokenizer)


def test_memory_is_that_of_all_that_a_replica_has_started():
    alone = memory_bytes()
    held = "held = bytearray(b'x') * (64 << 20); print('ready', flush=True); input()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", held], **pipes) as child:
        child.stdout.readline()
        assert memory_bytes() - alone > 32 << 20
        child.communicate(b"\n")


def test_what_a_replica_has_is_left_out_of_collections():
    before = gc.get_freeze_count()
    kept = [[number] for number in range(1000)]
    settled()
    assert gc.get_freeze_count() >= before + len(kept)


class Visited(EngineReplica):
    """A replica as its entrance knows it, with a script in the place of its engine."""

    def __init__(self, *script):
        self.script = script
        self.calls = []
        self.closed = asyncio.Event()

    async def generate(self, call):
        self.calls.append(call)
        try:
            for item in self.script:
                if isinstance(item, Exception):
                    raise item
                yield item
            await asyncio.Event().wait()
        finally:
            self.closed.set()

    def __del__(self):
        pass


def visit(folder, replica, count):
    """What comes back of a call, of which so many items are read."""

    async def ask():
        entrance = Entrance(replica._visited, folder / "e")
        await entrance.open()
        async with Nearby(ENGINES, folder).entered("e") as pipe:
            await pipe.send(CALL)
            found = [await pipe.receive() for _ in range(count)]
        await replica.closed.wait()
        await entrance.close()
        return found

    return asyncio.run(asyncio.wait_for(ask(), HANGS))


CALL = Call(Generation("id", None, "hello"))
SCRIPT = (Delta(0, "a", 1), Usage(1, 1))


def test_who_visits_gets_what_is_generated_and_ends_it_by_leaving(tmp_path):
    replica = Visited(*SCRIPT)
    assert visit(tmp_path, replica, 2) == list(SCRIPT)
    assert replica.calls == [CALL]


def test_what_goes_wrong_is_told_to_who_visits(tmp_path):
    item, error = visit(tmp_path, Visited(SCRIPT[0], KeyError("lost")), 2)
    assert item == SCRIPT[0]
    assert isinstance(error, RuntimeError)
    assert "KeyError: 'lost'" in str(error)
    assert "in generate" in str(error)
