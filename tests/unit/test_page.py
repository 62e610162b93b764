"""The page beside a server that hangs, fails or wants a key; tests/e2e has it on a real cluster."""

from datetime import timedelta

import pytest
from browsing import browse, needs_chromium, needs_driver
from cli_world import live
from scripted import Hold, thinker
from served import BASE, served, service
from test_trainer import lines
from tiny import tiny_base
from trainers import training

from registry.base import BaseSpec
from registry.clock import now
from registry.scopes import Scope
from registry.usage import Account, Amount
from router.engine import Delta
from router.errors import Overloaded

pytestmark = [needs_chromium, needs_driver]


@pytest.fixture
def made(tmp_path):
    with service(tmp_path / "home") as made:
        yield made


@pytest.fixture
def base(tmp_path):
    return tiny_base(tmp_path / "tiny-llama")


@pytest.fixture
def server(base, tmp_path):
    with live(tmp_path / "server", BaseSpec.from_folder(base.folder, base.name)) as server:
        yield server


@pytest.fixture
def rows(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_bytes(lines(40))
    return str(file)


def said(generation):
    return [turn.content for turn in generation.prompt]


def test_an_answer_is_stopped_and_what_came_is_remembered(made):
    made.engine.script = lambda _: [Delta(0, "Word", 1), Hold()]
    with served(made) as url:
        browse("stopped", url)
    first, second = made.engine.generations
    assert said(first) == ["hello there"]
    assert said(second) == ["hello there", "Word", "and again"]


def test_what_was_thought_is_shown_apart(made):
    made.engine.script = thinker
    with served(made) as url:
        browse("thinking", url)


def test_what_fails_says_why_and_loses_nothing(made):
    made.engine.script = lambda _: [Overloaded()]
    with served(made) as url:
        browse("failing", url)


def test_an_answer_that_breaks_off_says_why(made):
    made.engine.script = lambda _: [Delta(0, "Word", 1), Overloaded()]
    with served(made) as url:
        browse("breaking", url)


def test_a_server_that_is_away_is_said_to_be(made):
    with served(made) as url:
        browse("unreachable", url)


def test_a_key_is_asked_for(made):
    key = made.registry.keys.create("page", [Scope.INFER, Scope.READ], "ada")[1]
    with served(made) as url:
        browse("locked", url, key)


def test_what_is_wanted_waits_and_is_called_off(server, rows):
    browse("waiting", server.url, rows)


def test_a_specialist_is_made_and_asked(server, base, rows, tmp_path):
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"messages": "none"}\n')
    with training(server.registry, base):
        browse("made", server.url, rows, str(bad))
    assert server.engine.generations[-1].adapter == server.registry.get("local/fox").digest


def test_what_was_used_is_shown(made):
    then = now().date()
    before = then - timedelta(days=1)
    amounts = {
        Account(before, "bob/weather"): Amount(1000, 2000, 0, 3000),
        Account(then, BASE): Amount(3, 11, 4, 11),
    }
    made.registry.ledger.note(amounts)
    with served(made) as url:
        browse("used", url, str(before), str(then))


def test_that_nothing_was_used_is_said(made):
    with served(made) as url:
        browse("unused", url)
