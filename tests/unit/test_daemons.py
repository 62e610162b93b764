"""Ending without Ray's own processes."""

import subprocess
import sys

import psutil
import pytest
from patience import until

ENDS = """
import subprocess, sys, threading
import psutil
from deploy.daemons import needed

def started():
    return psutil.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)

one, other = started(), started()
print(one.pid, other.pid, flush=True)
with needed([one]):
    {doing}
other.kill()
one.kill()
sys.exit(3)
"""


def ended(doing: str) -> tuple[int, list[int]]:
    """How a process ended that needs one of two others, and which these were."""
    script = ENDS.format(doing=doing)
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert not ran.stderr
    return ran.returncode, [int(each) for each in ran.stdout.split()]


def runs(pid: int) -> bool:
    """Whether it does; an orphan whose foster parent does not reap it has ended."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize("gone", ["one.kill()", "one.kill(); one.wait()"])
def test_who_waits_for_what_is_gone_ends_and_leaves_nobody(gone):
    code, others = ended(f"{gone}; threading.Event().wait()")
    assert code == 0
    until(lambda: not any(runs(each) for each in others))


def test_who_is_done_goes_on():
    assert ended("pass")[0] == 3


def test_others_are_not_needed():
    assert ended("other.kill()")[0] == 3
