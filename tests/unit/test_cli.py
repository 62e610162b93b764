import json
import subprocess
import sys
from collections.abc import Iterator
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest
import typer
from cli_world import Terminal, myriad

from deploy import cli
from deploy.cli.app import app
from deploy.cli.output import printable
from deploy.errors import DeployError
from registry.errors import StorageError
from specialists.errors import BaseUnavailable

NOWHERE = "http://127.0.0.1:9"


def commands(command=None, path=()) -> Iterator[tuple[tuple[str, ...], object]]:
    command = command or typer.main.get_command(app)
    if not hasattr(command, "commands"):
        yield path, command
    for name, child in getattr(command, "commands", {}).items():
        yield from commands(child, (*path, name))


COMMANDS = dict(commands())
LOCAL = ("setup", "up", "extract", "distill-encoder", "registry", "audit", "keys", "deploy", "data")
JOB_CHANGES = ("cancel", "pause", "resume")
SPECIALISTS = (
    *(
        "register",
        "register-all",
        "list",
        "tree",
        "show",
        "retire",
        "restore",
        "visibility",
        "release",
    ),
    *("export", "import"),
    *("promote", "rollback", "canary", "gate", "score", "aliases"),
)


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_terminal_without_some_letters_is_written_to_all_the_same(monkeypatch, stream):
    terminal = TextIOWrapper(BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, stream, terminal)
    assert cli.main(["Grüße", *(["--json"] if stream == "stdout" else [])]) == 2
    terminal.flush()
    assert b"Gr??e" in terminal.buffer.getvalue()


def test_the_commands_are_those_that_were_promised():
    assert {" ".join(path) for path in COMMANDS} == {
        *(
            "setup",
            "up",
            "login",
            "status",
            "doctor",
            "chat",
            "route",
            "feedback",
            "create",
            "train",
            "distill",
            "extract",
            "distill-encoder",
            "eval",
            "lineage",
            "usage",
        ),
        *(f"specialists {verb}" for verb in SPECIALISTS),
        *(f"registry {verb}" for verb in ("backup", "restore", "verify", "gc")),
        *("audit list", "audit verify"),
        *("keys create", "keys list", "keys revoke"),
        *(f"jobs {verb}" for verb in ("create", "follow", "list", "show", *JOB_CHANGES)),
        *(f"batches {verb}" for verb in ("create", "follow", "list", "show", "cancel")),
        *(f"data {verb}" for verb in ("check", "from-traffic")),
        "deploy render",
    }


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_explains_itself_and_writes_json(path):
    command = COMMANDS[path]
    assert command.help.endswith(".")
    assert all(param.help for param in command.params)
    assert "--json" in {option for param in command.params for option in param.opts}
    assert myriad(*path, "--help").code == 0


@pytest.mark.parametrize("path", [path for path in COMMANDS if path[0] not in LOCAL])
def test_every_command_that_asks_a_server_takes_its_address(path):
    assert "--url" in {option for param in COMMANDS[path].params for option in param.opts}


@pytest.mark.parametrize(
    "words", [(), ("specialists",), ("registry",), ("audit",), ("keys",), ("deploy",)]
)
def test_alone_it_shows_help(words):
    ran = myriad(*words)
    assert ran.code == 0
    assert "Usage: " in ran.out


def test_version():
    assert myriad("--version").out.startswith("myriad")


@pytest.mark.parametrize("error", [DeployError("a"), StorageError("b"), BaseUnavailable("c")])
def test_our_errors_are_one_line_or_json(monkeypatch, error):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr("deploy.cli.status.connect", fail)
    ran = myriad("status")
    assert (ran.code, ran.out, ran.err) == (1, "", f"error: {error}\n")
    ran = myriad("status", "--json")
    assert (ran.code, ran.err) == (1, "")
    assert json.loads(ran.out) == {"error": {"message": str(error)}}


@pytest.mark.parametrize(
    "words",
    [
        ("frobnicate",),
        ("route",),
        ("status", "--colour"),
        ("chat", " "),
        ("chat", "hi", "--temperature", "9"),
        ("specialists", "list", "--limit", "0"),
        ("specialists", "register", "ada/coach", "/no/such/folder"),
        ("train", "ada/coach", "--data", "/no/such/file"),
    ],
)
def test_misuse_is_exit_code_2_and_one_line(words):
    ran = myriad(*words)
    assert ran.code == 2
    assert ran.out == ""
    assert ran.err.startswith("error: ")
    assert ran.err.count("\n") == 1
    ran = myriad(*words, "--json")
    assert ran.code == 2
    assert json.loads(ran.out)["error"]["message"]


def test_json_behind_a_double_dash_is_a_text():
    ran = myriad("chat", "--url", NOWHERE, "--", "--json")
    assert ran.code == 1
    assert ran.err.startswith("error: nothing answers")


def test_a_setting_that_cannot_be_used_is_named(monkeypatch):
    monkeypatch.setenv("MYRIAD_PORT", "many")
    ran = myriad("status")
    assert ran.code == 1
    assert "MYRIAD_PORT='many'" in ran.err


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, typer.Abort])
def test_ctrl_c_leaves_no_trace(monkeypatch, interrupt):
    def stop(*args, **kwargs):
        raise interrupt

    monkeypatch.setattr("deploy.cli.status.connect", stop)
    ran = myriad("status")
    assert ran.code == 130
    assert (ran.out + ran.err).strip() == ""


def test_a_bug_is_not_hidden(monkeypatch):
    monkeypatch.setattr("deploy.cli.status.connect", lambda url: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        myriad("status")


ASKING = {
    "chat": ["hi"],
    "route": ["hi"],
    "specialists register": ["a/b", ".", "--description", "x"],
    "specialists list": [],
    "specialists tree": [],
    "specialists show": ["a/b"],
    "specialists retire": ["a/b"],
    "specialists restore": ["a/b"],
    "specialists visibility": ["a/b", "public"],
    "specialists release": ["a/b@1"],
    "specialists score": ["a/b@1", "f1=0.5"],
    "specialists export": ["a/b@1", "x.tar"],
    "feedback": ["chatcmpl-x", "good"],
    "train": ["a/b", "--data", "rows.jsonl", "--description", "x"],
    "jobs create": ["a/b", "--data", "rows.jsonl"],
    "jobs list": [],
    "data from-traffic": ["a/b", "--output", "new.jsonl"],
    "eval": ["a/b", "--data", "rows.jsonl"],
    "create": ["a/b", "--from", "rows.jsonl"],
    "batches create": ["rows.jsonl"],
    "batches list": [],
    **{f"batches {verb}": ["batch-x"] for verb in ("follow", "show", "cancel")},
    **{f"jobs {verb}": ["ftjob-x"] for verb in ("follow", "show", *JOB_CHANGES)},
}


@pytest.mark.parametrize("command", ASKING)
def test_nothing_answers(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MYRIAD_HOME", str(tmp_path))
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    Path("rows.jsonl").write_text(json.dumps({"messages": turns}))
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        Path(name).write_text("")
    ran = myriad(*command.split(), *ASKING[command], "--url", NOWHERE)
    assert ran.code == 1
    assert ran.err.startswith(f"error: nothing answers at {NOWHERE}: start it with `myriad up`")


def test_texts_cannot_steer_the_terminal():
    assert printable("a\x1b[2Jb\x07\r\x9b\nc\td é🙂") == "a�[2Jb���\nc\td é🙂"


def process(*words: str, **options) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "deploy.cli", *words],
        cwd=Path(cli.__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        **options,
    )


def test_a_reader_that_leaves_is_no_error():
    running = process("--help")
    running.stdout.close()
    assert running.stderr.read() == b""
    running.stderr.close()
    running.wait()


def test_retiring_asks_first():
    ran = myriad("specialists", "retire", "a/b", "--url", NOWHERE, stdin=Terminal("n\n"))
    assert ran.code == 1
    assert ran.out == ""
    assert "Retire a/b?" in ran.err
    assert "nothing answers" not in ran.err
