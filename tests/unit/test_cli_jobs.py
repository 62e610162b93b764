"""`myriad jobs` and `myriad data`, against a server with a trainer on a tiny base."""

import json

import pytest
from cli_world import live, myriad
from test_trainer import lines
from tiny import tiny_base
from trainers import training

from registry.base import BaseSpec
from specialists.training import pulse


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_base(tmp_path_factory.mktemp("base") / "tiny-llama")


@pytest.fixture(scope="module")
def server(base, tmp_path_factory):
    spec = BaseSpec.from_folder(base.folder, base.name)
    with live(tmp_path_factory.mktemp("server"), spec) as server:
        yield server


@pytest.fixture(autouse=True)
def world(server, base, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pulse, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr("deploy.cli.jobs.LOOK_SECONDS", 0.1)
    monkeypatch.setenv("MYRIAD_URL", server.url)
    monkeypatch.setenv("MYRIAD_BASE", str(base.folder))
    monkeypatch.setenv("MYRIAD_HOME", str(tmp_path / "home"))
    (tmp_path / "rows.jsonl").write_bytes(lines(24))
    (tmp_path / "held.jsonl").write_bytes(lines(4, asked="of {0} {1}"))


def create(*words: str):
    return myriad("jobs", "create", "eve/fox", "--data", "rows.jsonl", "--seed", "1", *words)


def test_a_job_is_followed_to_its_end(server, base):
    words = ("--heldout", "held.jsonl", "--description", "Greets.", "--effort", "quick")
    with training(server.registry, base):
        ran = create(*words)
    assert ran.code == 0, ran.err
    for text in ("makes eve/fox", "Training 1/", "succeeded", "eve/fox", "95% of samples"):
        assert text in ran.out
    assert "Validating training file." in ran.err
    job = server.registry.jobs.list(1)[0][0]
    assert (job.task.effort, job.task.seed) == ("quick", 1)
    assert job.task.card == {"description": "Greets."}
    assert job.task.validation_name == "held.jsonl"
    shown = myriad("jobs", "show", job.id)
    assert "myriad chat --model" in shown.out
    assert job.id in myriad("jobs", "list").out


def test_a_job_takes_a_card(server, base, tmp_path):
    card = {"id": "eve/other", "tags": ["sea"], "license": "MIT", "base": "another"}
    card["persona"] = {"greeting": "Ahoy!", "disclosure": "I am an AI."}
    (tmp_path / "card.json").write_text(json.dumps(card))
    words = ("--card", "card.json", "--description", "Greets.", "--publish-requests", "--no-wait")
    assert create(*words).code == 0
    task = server.registry.jobs.list(1)[0][0].task
    assert task.publish
    assert task.card == {
        "description": "Greets.",
        "tags": ["sea"],
        "license": "MIT",
        "persona": {"greeting": "Ahoy!", "disclosure": "I am an AI."},
    }


def test_for_programs_each_event_is_a_line(server, base):
    with training(server.registry, base):
        ran = create("--effort", "quick", "--json")
    events = [json.loads(line) for line in ran.out.splitlines()]
    kinds = dict.fromkeys(event["event"] for event in events)
    assert list(kinds) == ["created", "told", "training", "succeeded"]
    steps = [event["done"] for event in events if event["event"] == "training"]
    assert steps == sorted(set(steps))


def test_a_job_that_fails_says_why(server, base, tmp_path):
    (tmp_path / "rows.jsonl").write_text("nonsense\n")
    with training(server.registry, base):
        ran = create()
    assert ran.code == 1
    assert "is not JSON" in ran.out
    assert "failed" in ran.err


def test_a_job_is_paused_resumed_and_cancelled(server):
    ran = create("--no-wait", "--json")
    job = json.loads(ran.out)["job"]["id"]
    for verb, status in (("pause", "paused"), ("resume", "queued"), ("cancel", "cancelled")):
        assert myriad("jobs", verb, job).out == f"{job} is {status}.\n"
    ran = myriad("jobs", "follow", job)
    assert (ran.code, f"{job} was cancelled" in ran.err) == (1, True)
    assert myriad("jobs", "pause", job).code == 1


def check(*words: str):
    return myriad("data", "check", "rows.jsonl", *words)


def test_a_file_is_looked_at_before_it_is_trained_on(tmp_path):
    rows = lines(30).decode().splitlines()
    rows += [rows[0], rows[1].replace("dog again", "cat")]
    (tmp_path / "rows.jsonl").write_text("\n".join(rows))
    (tmp_path / "held.jsonl").write_text(rows[2])
    ran = check("--validation", "held.jsonl", "--json")
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    assert (found["rows"], found["problems"]) == (32, [])
    assert found["repeated"] == ["line 31"]
    assert found["contradictions"] == ["line 32"]
    assert found["leaked"] == ["line 3"]
    assert found["too_long"] == []
    assert sum(found["lengths"].values()) == 32
    assert 0 < found["learnt"] < found["tokens"]
    assert found["seconds"] > 0
    learnt = "".join(piece["text"] for piece in found["preview"] if piece["learnt"])
    assert learnt == "fox again<|im_end|>"
    shown = check("--validation", "held.jsonl").out
    for text in ("line 31", "line 32", "line 3", "«fox again<|im_end|>»", "█"):
        assert text in shown


def test_all_that_is_wrong_with_it_is_named(tmp_path):
    bad = [b"nonsense", b"{}", b'{"messages": []}', lines(1).strip()]
    (tmp_path / "rows.jsonl").write_bytes(b"\n".join(bad))
    ran = check()
    assert ran.code == 1
    for place in ("line 1: is not JSON", "line 2: has none of these", "line 3: the last message"):
        assert place in " ".join(ran.out.split())


def test_rows_that_are_too_long_are_named(tmp_path):
    long = lines(1, answer="{0} " * 2000)
    (tmp_path / "rows.jsonl").write_bytes(lines(3) + long)
    assert json.loads(check("--json").out)["too_long"] == ["line 4"]


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "has no rows"), (b"\xff\xfe\x00", "cannot be read as UTF-8"), (b"[]", "has no rows")],
)
def test_what_holds_no_rows_is_refused(tmp_path, content, said):
    (tmp_path / "rows.jsonl").write_bytes(content)
    ran = check()
    assert (ran.code, said in ran.err) == (1, True)
