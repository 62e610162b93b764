"""Of a change whose process is killed at any step all is there, or nothing."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_a_change_that_is_killed_at_any_step_is_there_whole_or_not_at_all():
    ran = subprocess.run(
        [sys.executable, Path(__file__).with_name("killed.py")],
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'tests' / 'unit'}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    found = [json.loads(line) for line in ran.stdout.splitlines()]
    assert {each["change"]: each["problems"] for each in found if each["problems"]} == {}
    assert len(found) == 11
    assert all(each["steps"] >= 5 for each in found), found
    assert sum(each["steps"] for each in found) > 150
