"""Grammars are compiled in a process apart, which one that takes too long costs nothing else."""

import gc
import json

import pytest
from engines import engine
from tiny import tiny_base

from specialists.engine.compiling import Trial, Vocabulary
from specialists.errors import InvalidSampling


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def made(base):
    made = engine(base, {})
    yield made
    made.close()


def test_a_schema_that_takes_for_ever_costs_itself_only(made):
    endless = {"allOf": [{"type": "string", "pattern": f"a.*{n}.*b"} for n in range(40)]}
    grammars = made.grammars
    for ask in (grammars.of_schema, lambda text: grammars.check(text, "response_format")):
        with pytest.raises(InvalidSampling, match="takes too long"):
            ask(json.dumps(endless))
        # It is remembered, and not tried again.
        assert grammars._trial._process.poll() is not None
    assert grammars.of_schema('{"const": "the next"}').allowed().any()


def test_what_is_known_does_not_wait_for_what_is_tried(made):
    made.grammars.of_schema('{"const": "known"}')
    with made.grammars._trial._lock:
        assert made.grammars.of_schema('{"const": "known"}').allowed().any()


def test_a_trial_that_died_is_followed_by_another(made):
    made.grammars.of_schema('{"const": "before"}')
    died = made.grammars._trial._process
    died.kill()
    died.wait()
    assert made.grammars.of_schema('{"const": "after"}').allowed().any()


def test_a_trial_ends_with_who_asks_it(base):
    trial = Trial(Vocabulary((base.folder / "tokenizer.json").read_text(), [2], 400))
    assert trial.refusal("schema", '{"const": 1}') is None
    assert "objekt" in trial.refusal("schema", '{"type": "objekt"}')
    process = trial._process
    del trial
    gc.collect()
    assert process.returncode is not None


def test_rules_that_take_for_ever_to_read_are_refused(made):
    with pytest.raises(InvalidSampling, match="takes too long"):
        made.grammars.of_rules("grammar", "\n" * 60_000, "structured_outputs.grammar")


def test_a_grammar_is_turned_into_lark_once(made, monkeypatch):
    asked = []
    turned = made.grammars._trial.lark
    monkeypatch.setattr(
        made.grammars._trial, "lark", lambda text: asked.append(text) or turned(text)
    )
    for _ in range(3):
        rules = made.grammars.of_rules("grammar", 'root ::= "once"', "grammar").rules
    assert "start" in rules
    assert asked == ['root ::= "once"']
