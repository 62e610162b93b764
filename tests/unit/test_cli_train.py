"""`myriad train`, `setup` and `up`: from rows to a specialist in service, on a tiny base."""

import json

import pytest
from cli_world import live, myriad
from tiny import tiny_base

from deploy.cli.train import figures
from registry.base import BaseSpec
from registry.card import Card
from specialists.training import finetune
from specialists.training.finetune import Progress

PAIRS = [("fox at dawn", "hello"), ("fox at dusk", "bye"), ("fox at noon", "jumps")]
FILES = {
    "adapter_config.json",
    "adapter_model.safetensors",
    "card.yaml",
    "private_examples.yaml",
}


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
    monkeypatch.setenv("MYRIAD_URL", server.url)
    monkeypatch.setenv("MYRIAD_BASE", str(base.folder))
    monkeypatch.setenv("MYRIAD_HOME", str(tmp_path / "home"))
    turns = [
        {"messages": [{"role": "user", "content": ask}, {"role": "assistant", "content": answer}]}
        for ask, answer in PAIRS
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(turn) + "\n" for turn in turns))


def train(*words: str):
    return myriad("train", "eve/fox", "--data", "rows.jsonl", "--rank", "4", *words)


def test_from_rows_to_a_specialist_in_service(tmp_path):
    ran = train("--heldout", "rows.jsonl", "--description", "Greets.", "--epochs", "2")
    assert ran.code == 0, ran.err
    assert ran.err == ""
    for text in (
        "Training 1/2, loss ",
        "Training 2/2",
        "exact_match",
        "perplexity",
        "eve/fox",
        "chat",
    ):
        assert text in ran.out
    folder = tmp_path / "home" / "trained" / "eve" / "fox"
    assert {file.name for file in folder.iterdir()} == FILES
    card = Card.parse((folder / "card.yaml").read_bytes())
    assert card.examples == ()
    private = (folder / "private_examples.yaml").read_text()
    assert all(ask in private for ask, _ in PAIRS)
    assert [score.metric for score in card.evaluation] == ["exact_match", "token_f1", "perplexity"]
    assert "eve/fox answers" in myriad("route", "fox at night").out
    shown = myriad("specialists", "show", "eve/fox", "--json").out
    assert json.loads(shown)["base"] == "tiny-llama"
    assert not any(ask in shown for ask, _ in PAIRS)


def test_the_written_folder_can_be_registered_as_it_is():
    assert train("--description", "Greets.", "--output", "out", "--no-register").code == 0
    assert myriad("specialists", "register", "eve/copy", "out").code == 0
    assert "eve/copy" in myriad("route", "fox at night").out
    for name in ("eve/fox", "eve/copy"):
        myriad("specialists", "retire", name)


def test_requests_that_are_published_stand_in_the_card(tmp_path):
    words = ("--description", "Greets.", "--output", "out", "--no-register", "--publish-requests")
    assert train(*words).code == 0
    card = Card.parse((tmp_path / "out" / "card.yaml").read_bytes())
    assert card.examples == tuple(ask for ask, _ in PAIRS)
    assert not (tmp_path / "out" / "private_examples.yaml").exists()


def test_for_programs_each_event_is_a_line(tmp_path):
    (tmp_path / "my.yaml").write_text("id: x/y\ndescription: Mine.\nexamples: [a, b]")
    ran = train("--card", "my.yaml", "--heldout", "rows.jsonl", "--epochs", "1", "--json")
    assert ran.err == ""
    events = [json.loads(line) for line in ran.out.splitlines()]
    kinds = ["step", "trained", "scored", "registered"]
    assert list(dict.fromkeys(each["event"] for each in events)) == [
        *kinds[:2], "scoring", *kinds[2:]
    ]  # fmt: skip
    step, trained, scored, registered = (e for e in events if e["event"] in kinds)
    assert (step["step"], step["steps"], trained["rows"]) == (1, 1, 3)
    assert {"loss", "tokens_per_second", "seconds_left"} <= set(step)
    assert [score["rows"] for score in scored["scores"]] == [3, 3, 3]
    assert (registered["id"], registered["examples"]) == ("eve/fox", ["a", "b"])


def test_options_reach_the_recipe(tmp_path):
    train("--description", "x", "--rank", "2", "--output", "a", "--no-register")
    assert json.loads((tmp_path / "a" / "adapter_config.json").read_text())["r"] == 2


def test_more_effort_makes_more_passes():
    def steps(*words: str) -> list[int]:
        ran = train("--description", "x", "--output", "out", "--no-register", "--json", *words)
        events = [json.loads(line) for line in ran.out.splitlines()]
        return [event["steps"] for event in events if event["event"] == "step"][:1]

    assert steps("--effort", "quick", "--epochs", "1") == [1]
    assert steps("--effort", "quick") == [20]
    assert train("--effort", "much").code == 2


def test_what_was_cut_off_goes_on_where_it_was(tmp_path, monkeypatch):
    words = ("--description", "x", "--output", "out", "--no-register", "--epochs", "4")
    monkeypatch.setattr(finetune, "SECONDS_BETWEEN", -1)

    def cut(step: Progress) -> str:
        if step.step == 3:
            raise KeyboardInterrupt
        return figures(step)

    with monkeypatch.context() as patched:
        patched.setattr("deploy.cli.train.figures", cut)
        train(*words)
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["unfinished.safetensors"]
    ran = train(*words)
    assert "Training 3/4" in ran.out
    assert "Training 2/4" not in ran.out
    assert {file.name for file in (tmp_path / "out").iterdir()} == FILES


def untrained(tmp_path, *words: str):
    """A run that must end before anything was trained."""
    ran = train(*words)
    assert ran.code != 0
    assert not list(tmp_path.rglob("adapter_*"))
    return ran


def test_rows_that_cannot_be_used_are_named(tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"messages": [{"role": "user", "content": "a"}]}\n')
    assert "line 1: the last message" in untrained(tmp_path, "--description", "x").err


def test_heldout_rows_are_read_before_the_training(tmp_path):
    (tmp_path / "held.jsonl").write_text("{")
    ran = untrained(tmp_path, "--description", "x", "--heldout", "held.jsonl")
    assert "line 1: is not JSON" in ran.err


def test_what_it_is_for_must_be_said(tmp_path):
    assert "--description" in untrained(tmp_path).err


def test_a_bad_name_is_refused(tmp_path):
    ran = myriad("train", "Eve Fox", "--data", "rows.jsonl", "--description", "x")
    assert (ran.code, "not an id" in ran.err) == (1, True)


def test_a_result_must_have_a_folder(tmp_path):
    (tmp_path / "file").touch()
    assert untrained(tmp_path, "--description", "x", "--output", "file").code == 2
    assert untrained(tmp_path, "--description", "x", "--output", "file/below").code == 1


def test_a_server_that_is_not_there_or_not_ready_stops_it_early(tmp_path, server, monkeypatch):
    server.engine.is_ready = False
    ran = untrained(tmp_path, "--description", "x")
    server.engine.is_ready = True
    assert "is not ready yet" in ran.err
    ran = untrained(tmp_path, "--description", "x", "--url", "http://127.0.0.1:9")
    assert "train with --no-register" in ran.err


def test_another_base_than_the_servers_stops_it_early(tmp_path, monkeypatch):
    monkeypatch.setenv("MYRIAD_BASE", str(tiny_base(tmp_path / "other").folder))
    ran = untrained(tmp_path, "--description", "x")
    assert "for the base other, but the server has tiny-llama" in ran.err


def test_a_server_that_leaves_costs_no_training(tmp_path, monkeypatch):
    from deploy.client import Client
    from deploy.errors import ServerUnreachable

    def gone(*args):
        raise ServerUnreachable("gone")

    monkeypatch.setattr(Client, "register", gone)
    ran = train("--description", "x", "--output", "kept")
    assert ran.code == 1
    assert "myriad specialists register eve/fox kept" in ran.err
    assert {file.name for file in (tmp_path / "kept").iterdir()} == FILES


def test_a_step_tells_its_loss_its_speed_and_what_is_left():
    step = Progress(3, 7, loss=1.25, accuracy=0.5, tokens_per_second=210.4, seconds_left=83.6)
    assert figures(step) == "loss 1.250, 210 tokens/s, 1:24 left"


def test_setup_prepares_the_base(base):
    told = json.loads(myriad("setup", "--json").out)
    assert told == {"base": base.name, "folder": str(base.folder)}
    assert base.name in myriad("setup").out


def test_up_runs_until_it_is_stopped(monkeypatch, tmp_path):
    from deploy import up

    calls = []
    monkeypatch.setattr(up, "run_up", lambda settings, console, *, as_json: calls.append(
        (settings.home, console.stderr, as_json)
    ))  # fmt: skip
    assert myriad("up").code == 0
    assert myriad("up", "--json").code == 0
    assert calls == [(tmp_path / "home", False, False), (tmp_path / "home", True, True)]
