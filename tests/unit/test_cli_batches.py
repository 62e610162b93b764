"""`myriad batches`, against a server that answers them."""

import json
from pathlib import Path

import pytest
from batch_server import file_of, line, working
from cli_world import myriad
from served import service

from router.batches import worker


@pytest.fixture
def made(tmp_path):
    with service(tmp_path / "server") as made:
        yield made


@pytest.fixture(autouse=True)
def world(made, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(worker, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr("deploy.cli.batches.LOOK_SECONDS", 0.01)
    monkeypatch.setenv("MYRIAD_HOME", str(tmp_path / "home"))
    with working(made) as url:
        monkeypatch.setenv("MYRIAD_URL", url)
        yield


def asked(*lines) -> str:
    Path("asked.jsonl").write_bytes(file_of(*lines))
    return "asked.jsonl"


def names(file: str) -> list[str]:
    return [json.loads(each)["custom_id"] for each in Path(file).read_text().splitlines()]


def test_a_file_is_answered(made):
    ran = myriad("batches", "create", asked(line("a"), line("b", model="no/body"), line("c")))
    assert ran.code == 0, ran.err
    for text in ("completed", "2 of 3", "refused", "asked.answers.jsonl", "asked.refusals.jsonl"):
        assert text in ran.out
    assert names("asked.answers.jsonl") == ["a", "c"]
    assert names("asked.refusals.jsonl") == ["b"]
    batch = made.registry.batches.list(1)[0][0]
    assert batch.id in myriad("batches", "list").out
    assert "2 of 3" in myriad("batches", "show", batch.id).out
    again = myriad("batches", "follow", batch.id)
    assert again.code == 0
    assert names(f"{batch.id}.answers.jsonl") == ["a", "c"]
    assert names(f"{batch.id}.refusals.jsonl") == ["b"]


def test_what_is_wrong_with_a_file_is_shown():
    ran = myriad("batches", "create", asked(line("a"), line("a"), line("b", url="/elsewhere")))
    assert ran.code == 1
    assert "line 2: The custom_id 'a' is there twice" in ran.out
    assert "line 3: " in ran.out
    assert ran.err.startswith("error: batch-")
    assert not Path("asked.answers.jsonl").exists()


def test_for_programs_each_event_is_a_line():
    words = ("--endpoint", "/v1/completions", "--out", "done.jsonl", "--json")
    one = line("a", url="/v1/completions") | {"body": {"model": "auto", "prompt": "hello"}}
    ran = myriad("batches", "create", asked(one), *words)
    events = [json.loads(each) for each in ran.out.splitlines()]
    assert [events[0]["event"], events[-1]["event"]] == ["created", "completed"]
    assert {each["event"] for each in events[1:-1]} <= {"answering"}
    assert events[-1]["files"] == {"answers": "done.jsonl"}
    assert names("done.jsonl") == ["a"]


def test_one_that_is_cancelled_has_not_come_to_its_end(made, monkeypatch):
    queue = made.registry.batch_queue
    waits = queue.waits
    monkeypatch.setattr(queue, "waits", lambda: False)
    assert myriad("batches", "create", asked(line("a")), "--no-wait").code == 0
    batch = made.registry.batches.list(1)[0][0]
    ran = myriad("batches", "cancel", batch.id)
    assert (ran.code, ran.out) == (0, f"{batch.id} is cancelling.\n")
    monkeypatch.setattr(queue, "waits", waits)
    ran = myriad("batches", "follow", batch.id)
    assert (ran.code, ran.err) == (1, f"error: {batch.id} was cancelled\n")
