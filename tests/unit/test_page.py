"""The page beside a server that hangs, fails or wants a key; tests/e2e has it on a real cluster."""

import pytest
from browsing import browse, needs_chromium, needs_driver
from served import served, service

from registry.scopes import Scope
from router.engine import Delta
from router.errors import Overloaded
from router.scripted import Hold

pytestmark = [needs_chromium, needs_driver]


@pytest.fixture
def made(tmp_path):
    with service(tmp_path / "home") as made:
        yield made


def said(generation):
    return [turn.content for turn in generation.prompt]


def test_an_answer_is_stopped_and_what_came_is_remembered(made):
    made.engine.script = lambda _: [Delta(0, "Word", 1), Hold()]
    with served(made) as url:
        browse("stopped", url)
    first, second = made.engine.generations
    assert said(first) == ["hello there"]
    assert said(second) == ["hello there", "Word", "and again"]


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
