"""Adapters are checked apart: whatever a file does to the process that reads it, ours goes on."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from tiny_adapter import BASE, card, config, tensors, weights

from registry import checking
from registry.adapter import validate
from registry.checking import CHECKERS, Checkers
from registry.errors import Conflict, InvalidAdapter, NotOwned, StorageError, UnknownSpecialist
from registry.limits import Limits
from registry.lora_weights import change, pair_up
from registry.reference import parse_reference
from registry.safetensors_header import read_header

LIMITS = Limits()


@pytest.fixture
def checkers():
    checkers = Checkers()
    yield checkers
    checkers.close()


def check(checkers, config_bytes=None, weight_bytes=None):
    weight_bytes = weights() if weight_bytes is None else weight_bytes
    return checkers.check(config_bytes or config(), weight_bytes, BASE, LIMITS)


def test_apart_it_is_found_what_is_found_here(checkers):
    assert check(checkers) == validate(config(), weights(), BASE, LIMITS)
    assert len(checkers._idle) == 1
    for config_bytes, weight_bytes in (
        (b"\xff\xfe", weights()), (config(r=3), weights()), (config(), b""), (config(), b"x" * 99),
    ):  # fmt: skip
        with pytest.raises(InvalidAdapter) as here:
            validate(config_bytes, weight_bytes, BASE, LIMITS)
        with pytest.raises(InvalidAdapter) as apart:
            check(checkers, config_bytes, weight_bytes)
        assert apart.value.args == here.value.args
    assert len(checkers._idle) == 1


def test_a_process_that_died_is_replaced(checkers):
    check(checkers)
    [first] = checkers._idle
    os.kill(first._process.pid, signal.SIGKILL)
    first._process.wait()
    assert check(checkers).rank == 4
    assert first not in checkers._idle


def test_one_that_dies_of_an_adapter_refuses_it(checkers, monkeypatch):
    check(checkers)
    [first] = checkers._idle
    send = checking.send_handle

    def killed(*arguments):
        os.kill(first._process.pid, signal.SIGKILL)
        first._process.wait()
        send(*arguments)

    monkeypatch.setattr(checking, "send_handle", killed)
    with pytest.raises(InvalidAdapter, match="cannot be read"):
        check(checkers)
    assert checkers._idle == []


def test_it_is_told_no_secrets(checkers, monkeypatch):
    monkeypatch.setenv("MYRIAD_DATABASE", "postgresql://ada:secret@host/x")
    check(checkers)
    told = Path(f"/proc/{checkers._idle[0]._process.pid}/environ").read_bytes()
    assert b"PATH=" in told
    assert b"secret" not in told


def test_what_is_too_large_is_refused_unread(checkers):
    with pytest.raises(InvalidAdapter, match=r"adapter_config\.json"):
        check(checkers, b" " * (LIMITS.max_config_bytes + 1))
    assert checkers._idle == []


def test_one_that_takes_too_long_is_ended(checkers, monkeypatch):
    check(checkers)
    [stopped] = checkers._idle
    os.kill(stopped._process.pid, signal.SIGSTOP)
    monkeypatch.setattr(checking, "SECONDS", 0.1)
    with pytest.raises(InvalidAdapter, match="longer than 0 s"):
        check(checkers)
    assert stopped._process.returncode == -signal.SIGKILL


def test_it_may_have_only_so_much_memory():
    code = "from registry.apart import bound; bound(1 << 30); print('bounded'); bytearray(4 << 30)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ran.stdout, ran.returncode) == ("bounded\n", 1)
    assert "MemoryError" in ran.stderr


def test_several_are_checked_at_once(checkers):
    found = []
    threads = [threading.Thread(target=lambda: found.append(check(checkers))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [check(checkers)] * 6
    assert 1 <= len(checkers._idle) <= 6


def test_where_no_process_can_be_begun_nothing_is_taken(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(StorageError, match="No process can be begun"):
        Checkers().check(config(), weights(), BASE, LIMITS)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_how_much_it_changes_is_what_its_product_is(dtype):
    found = {name: tensor.astype(dtype) for name, tensor in tensors(rank=4, seed=3).items()}
    pairs = pair_up(read_header(weights(found)), BASE)
    for pair in pairs:
        a, b = (found[tensor.name].astype(np.float64) for tensor in (pair.a, pair.b))
        expected = np.sqrt(np.mean((2.5 * b @ a) ** 2))
        assert change(weights(found), pair, 2.5) == pytest.approx(expected)


def loud():
    return weights({name: 10 * tensor for name, tensor in tensors().items()})


@pytest.mark.parametrize("alias", [None, "prod", "candidate"])
def test_an_outlier_is_quarantined_until_an_admin_releases_it(registry, alias):
    first, _ = registry.register(card(), config(), weights())
    version, created = registry.register(card(), config(), loud(), alias)
    assert (version.number, created) == (2, True)
    assert "model.layers.1.self_attn.q_proj" in version.quarantined
    assert registry.aliases.held_back(version) == [
        f"It is quarantined, and not in service. {version.quarantined}"
    ]
    assert registry.get("ada/coach") == first
    assert registry.resolve(parse_reference("ada/coach:latest")) == first
    for call in (
        lambda: registry.resolve(parse_reference("ada/coach@2")),
        lambda: registry.resolve(parse_reference(f"ada/coach@{version.digest}")),
        lambda: registry.aliases.promote("ada/coach@2"),
        lambda: registry.aliases.try_out("ada/coach@2", 0.5),
    ):
        with pytest.raises(Conflict, match="is quarantined"):
            call()
    assert registry.register(card(), config(), loud(), "prod") == (version, False)
    with pytest.raises(NotOwned):
        registry.seen_by("ada").release(parse_reference("ada/coach@2"))
    released = registry.release(parse_reference("ada/coach@2"))
    assert (released.digest, released.quarantined) == (version.digest, None)
    assert registry.release(parse_reference("ada/coach@2")) == released
    assert registry.aliases.promote("ada/coach@2").number == 2
    with pytest.raises(UnknownSpecialist):
        registry.release(parse_reference("ada/coach@3"))


def test_what_is_quarantined_from_the_beginning_is_shown(registry):
    version, _ = registry.register(card(), config(), loud())
    assert registry.live() == []
    assert registry.foremost("ada/coach") == version
    with pytest.raises(UnknownSpecialist):
        registry.get("ada/coach")


def test_the_registrys_own_checkers_end_with_the_process():
    code = "import test_checking as t; t.check(t.CHECKERS); print(t.CHECKERS._idle[0]._process.pid)"
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    with pytest.raises(ProcessLookupError):
        os.kill(int(ran.stdout), 0)
    assert CHECKERS is checking.CHECKERS
