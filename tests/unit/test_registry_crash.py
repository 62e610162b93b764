"""Several processes on one home, some of them killed: what was acknowledged is there."""

import subprocess
import sys
from pathlib import Path

import pytest
from patience import HANGS
from tiny_adapter import BASE, card, config, weights

from registry.registry import Registry

HERE = Path(__file__).parent
PATHS = f"{HERE.parent.parent}:{HERE}"


def start(home, name, first, count=0):
    return subprocess.Popen(
        [sys.executable, HERE / "register_forever.py", home, name, str(first), str(count)],
        env={"PYTHONPATH": PATHS},
        stdout=subprocess.PIPE,
        text=True,
    )


def check_integrity(registry, acknowledged):
    """Everything acknowledged is listed; everything listed is whole."""
    versions = [version for each in registry.live() for version in registry.versions(each.id)]
    assert set(acknowledged) <= {version.digest for version in versions}
    for version in versions:
        registry.files(version.digest)  # hashes both files


def test_a_process_killed_while_it_registers_loses_nothing_acknowledged(tmp_path):
    acknowledged = []
    for round_ in range(4):
        process = start(tmp_path, "ada/coach", 1000 * round_)
        acknowledged += [process.stdout.readline().strip() for _ in range(3 + 5 * round_)]
        process.kill()
        rest, _ = process.communicate()
        # The last line may have been cut off on its way; only whole ones are promises.
        acknowledged += [line.strip() for line in rest.splitlines(True) if line.endswith("\n")]
        registry = Registry.open(tmp_path, BASE)
        check_integrity(registry, acknowledged)
        registry.close()
    assert len(set(acknowledged)) == len(acknowledged) >= 42


@pytest.mark.parametrize("names", [("ada/coach", "ada/coach"), ("ada/coach", "bob/bot")])
def test_processes_that_open_a_new_home_at_once_share_it(tmp_path, names):
    processes = [start(tmp_path, name, 1000 * n, 25) for n, name in enumerate(names)]
    acknowledged = []
    for process in processes:
        output, _ = process.communicate(timeout=HANGS)
        assert process.returncode == 0
        acknowledged += output.split()
    registry = Registry.open(tmp_path, BASE)
    check_integrity(registry, acknowledged)
    assert len(acknowledged) == registry.generation() == 50
    assert len(registry.live()) == len(set(names))
    registry.close()


def test_a_change_made_by_another_process_is_seen(tmp_path):
    registry = Registry.open(tmp_path, BASE)
    registry.register(card("ada/coach"), config(), weights())
    process = start(tmp_path, "bob/bot", 0, 1)
    digest = process.communicate(timeout=HANGS)[0].strip()
    assert [change.live.digest for change in registry.changes(1)] == [digest]
    registry.close()
