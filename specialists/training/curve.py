"""How the loss fell, as a table and as a picture."""

import csv
import io
from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT, MARGIN = 720, 400, 48
TICKS = 5
POINTS = 400
"""A long curve is drawn by so many means."""


def table(losses: Sequence[float], validation: Mapping[int, float]) -> str:
    """CSV with the columns step, train_loss and valid_loss; steps count from 1."""
    written = io.StringIO()
    lines = csv.writer(written, lineterminator="\n")
    lines.writerow(["step", "train_loss", "valid_loss"])
    for step, loss in enumerate(losses, 1):
        held = validation.get(step)
        lines.writerow([step, f"{loss:.6f}", "" if held is None else f"{held:.6f}"])
    return written.getvalue()


def picture(losses: Sequence[float], validation: Mapping[int, float], title: str) -> str:
    """An SVG: the training loss as a line, the validation loss as one with points."""
    most = max([*losses, *validation.values()], default=1.0) or 1.0
    steps = max(len(losses), 1)

    def at(step: float, loss: float) -> tuple[float, float]:
        across = MARGIN + (WIDTH - 2 * MARGIN) * step / steps
        return across, HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * loss / most

    learnt = [at(*point) for point in _means(losses)]
    held = [at(*point) for point in sorted(validation.items())]
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="#d55e00"/>' for x, y in held)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="#fff"/>'
        f'<text x="{MARGIN}" y="24" font-size="15">{escape(title)}</text>'
        f"{_axes(steps, most)}{_line(learnt, '#0072b2')}{_line(held, '#d55e00')}{dots}"
        f'<text x="{WIDTH - MARGIN}" y="24" text-anchor="end" fill="#0072b2">training loss'
        f'<tspan fill="#d55e00">{"  validation loss" if held else ""}</tspan></text></svg>'
    )


def _means(losses: Sequence[float]) -> list[tuple[float, float]]:
    size = max(1, -(-len(losses) // POINTS))
    parts = [losses[at : at + size] for at in range(0, len(losses), size)]
    return [(at * size + len(part), sum(part) / len(part)) for at, part in enumerate(parts)]


def _line(points: Sequence[tuple[float, float]], colour: str) -> str:
    drawn = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline fill="none" stroke="{colour}" stroke-width="1.5" points="{drawn}"/>'


def _axes(steps: int, most: float) -> str:
    drawn = []
    for tick in range(TICKS + 1):
        share = tick / TICKS
        y = HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * share
        x = MARGIN + (WIDTH - 2 * MARGIN) * share
        drawn.append(
            f'<line x1="{MARGIN}" x2="{WIDTH - MARGIN}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>'
            f'<text x="{MARGIN - 6}" y="{y + 4:.1f}" text-anchor="end">{most * share:.2g}</text>'
            f'<text x="{x:.1f}" y="{HEIGHT - MARGIN + 18}" text-anchor="middle">'
            f"{round(steps * share)}</text>"
        )
    return "".join(drawn)
