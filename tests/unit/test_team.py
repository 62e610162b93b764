"""How many threads do a step of the kernels: fewer while other programs keep cores from them."""

import subprocess
from itertools import groupby
from pathlib import Path

import pytest

from specialists.engine.native import compile as native

STEP = 0.01
WINDOW = 0.2


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    made = tmp_path_factory.mktemp("team") / "team"
    source, headers = Path(__file__).with_name("team.cpp"), Path(native.__file__).parent
    options = [each for each in native.OPTIONS if each not in ("-shared", "-fPIC")]
    subprocess.run([native.compiler(), *options, f"-I{headers}", source, "-o", made], check=True)
    return made


@pytest.fixture
def strengths(program):
    """How many do each step, by how long members wait for others in it, all together, in steps."""

    def told(size, waits):
        lines = (f"{1 + at * STEP} {STEP} {wait * STEP}\n" for at, wait in enumerate(waits))
        command = [program, "judge", str(size)]
        ran = subprocess.run(
            command, input="".join(lines), capture_output=True, text=True, check=True
        )
        return [int(line) for line in ran.stdout.split()]

    return told


def test_all_work_while_none_loses_its_core(strengths):
    assert set(strengths(2, [0.4] * 500)) == {2}
    assert set(strengths(16, [3.0] * 500)) == {16}


def test_one_works_alone_while_the_other_loses_its_core_and_tries_again_ever_later(strengths):
    found = strengths(2, [0.9] * 4000)
    runs = [len(list(run)) * STEP for _, run in groupby(found)]
    assert runs[:10:2] == pytest.approx([WINDOW] * 5, abs=2 * STEP)
    assert runs[1:10:2] == pytest.approx([0.8, 1.6, 3.2, 6.4, 6.4], abs=2 * STEP)


def test_both_work_again_when_they_may_and_a_later_loss_is_forgotten_as_soon(strengths):
    found = strengths(2, ([0.9] * 20 + [0.0] * 200) * 2)
    assert found.count(1) * STEP == pytest.approx(2 * 0.8, abs=4 * STEP)
    assert found[110:240] == found[330:] + [2] * 20 == [2] * 130


def test_of_many_half_give_way_and_come_back_step_by_step(strengths):
    found = strengths(8, [6.0] * 60 + [0.0] * 2000)
    assert [active for active, _ in groupby(found)] == [8, 4, 2, 1, 2, 4, 8]
    assert found[60] == 1


@pytest.mark.parametrize("size", [2, 3, 8])
def test_who_is_to_work_works_however_strength_changes(program, size):
    ran = subprocess.run(
        [program, "work", str(size), "3000"], capture_output=True, text=True, check=True
    )
    seen, wrong = ran.stdout.splitlines()
    assert wrong == "0"
    assert {1, size} <= set(map(int, seen.split()))


def test_a_wake_up_that_is_lost_keeps_nobody_asleep(program):
    subprocess.run([program, "miss"], check=True)
