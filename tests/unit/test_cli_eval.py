"""`myriad eval`: answers over HTTP, beside the base's and others', scored and judged."""

import json

import pytest
from cli_world import live, myriad
from fastapi import FastAPI, Request
from test_distillation import said
from web import serve

from router.engine import Delta, Usage

ROWS = [("the sky", "blue"), ("grass", "green"), ("snow", "white"), ("coal", "black")]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with live(tmp_path_factory.mktemp("home")) as server:
        server.engine.script = answer
        yield server


def answer(generation):
    """A specialist knows every colour but one; the base says what it was asked."""
    asked = generation.prompt[-1].content
    known = dict(ROWS[:3]).get(asked, "grey")
    text = asked if generation.adapter is None else known
    return [Delta(0, text, 1, finish_reason="stop"), Usage(3, 1)]


@pytest.fixture(autouse=True)
def world(server, monkeypatch, tmp_path):
    monkeypatch.setenv("MYRIAD_URL", server.url)
    monkeypatch.setenv("MYRIAD_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    turns = [[("user", asked), ("assistant", told)] for asked, told in ROWS]
    rows = [[{"role": role, "content": said} for role, said in pair] for pair in turns]
    lines = [json.dumps({"messages": row}) + "\n" for row in rows]
    (tmp_path / "rows.jsonl").write_text("".join(lines))


def evaluated(*words: str):
    return myriad("eval", "ada/coach@1", "--data", "rows.jsonl", *words)


def test_a_version_is_scored_beside_the_base_and_others():
    ran = evaluated("--against", "bob/pirate", "--json")
    assert ran.code == 0, ran.err
    found = json.loads(ran.out.splitlines()[-1])
    assert (found["rows"], found["left_out"], found["wins"]) == (4, 0, {})
    exact = found["figures"]["exact_match"]
    assert {name: figure["value"] for name, figure in exact.items()} == {
        "ada/coach@1": 0.75,
        "bob/pirate": 0.75,
        "tiny": 0.0,
    }
    assert exact["ada/coach@1"]["low"] < 0.75 < exact["ada/coach@1"]["high"]
    shown = evaluated().out
    assert "exact_match" in shown
    assert "0.750 (" in shown


def test_a_judge_says_which_answers_are_better_whichever_comes_first():
    app, asked = FastAPI(), []

    @app.post("/v1/chat/completions")
    async def judge(request: Request):
        prompt = (await request.json())["messages"][0]["content"]
        asked.append(prompt)
        good, first = (
            prompt.split(f"{name}:\n\n")[1].split("\n\n")[0]
            for name in ("would be", "Assistant A answered")
        )
        if good == "black":
            return said("A, since it comes first")
        return said("A" if first == good else "B")

    with serve(app) as url:
        ran = evaluated("--judge", f"{url}/v1", "--json")
    assert ran.code == 0, ran.err
    [(name, won)] = json.loads(ran.out.splitlines()[-1])["wins"].items()
    # Three are better; of the fourth the judge only likes the first, whoever's it is.
    assert (name, won["value"]) == ("tiny", (3 + 0.5) / 4)
    assert len(asked) == 8


def test_scores_are_noted_for_the_gates(server):
    ran = evaluated("--save")
    assert ran.code == 0, ran.err
    version = server.registry.get("ada/coach")
    scores = {(each.metric, each.value) for each in server.registry.scores(version)}
    assert ("exact_match", 0.75) in scores
    named = myriad("eval", "ada/coach", "--data", "rows.jsonl", "--save")
    assert (named.code, "say which version" in named.err) == (2, True)


def test_nobody_of_that_name_is_said(server):
    ran = myriad("eval", "ada/coahc", "--data", "rows.jsonl")
    assert ran.code == 1
    assert "ada/coahc refused: 404" in ran.err
    assert "ada/coach" in ran.err


def test_rows_with_tools_are_left_out(tmp_path):
    tool = {"type": "function", "function": {"name": "f", "parameters": {}}}
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    (tmp_path / "tools.jsonl").write_text(json.dumps({"messages": turns, "tools": [tool]}))
    ran = myriad("eval", "ada/coach", "--data", "tools.jsonl")
    assert (ran.code, "there are no rows without tools" in ran.err) == (1, True)
