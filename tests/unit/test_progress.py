"""Long work shows where it is, on a terminal and without one."""

import io

from rich.console import Console

from deploy.progress import now_and_then, told


def test_without_a_terminal_each_piece_of_work_gives_a_first_and_a_last_line():
    out = io.StringIO()
    with told(Console(file=out)) as tell:
        for done in range(1, 8):
            tell("Training", done, 7, f"loss {done}")
        tell("Scoring", 1, 2)
        tell("Scoring", 2, 2)
    lines = out.getvalue().splitlines()
    assert lines == ["Training 1/7, loss 1", "Training 7/7, loss 7", "Scoring 1/2", "Scoring 2/2"]


def test_a_slow_piece_of_work_gives_a_line_now_and_then():
    clock = iter(range(0, 1000, 2)).__next__
    steps = []
    tell = now_and_then(lambda *step: steps.append(step[1]), clock=clock, seconds=5)
    for done in range(1, 20):
        tell("Training", done, 100)
    assert 3 <= len(steps) < 19
    assert steps[0] == 1


def test_on_a_terminal_a_bar_is_drawn():
    out = io.StringIO()
    with told(Console(file=out, force_terminal=True, width=100)) as tell:
        tell("Training", 3, 7, "loss 1.250")
    drawn = out.getvalue()
    for text in ("Training", "3/7", "loss 1.250"):
        assert text in drawn
