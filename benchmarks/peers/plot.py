"""Draws lines into a PNG. Run by an environment that has matplotlib: python plot.py FILE < JSON.

Takes {"title", "x", "y", "lines": [{"name", "points": [[x, y], …], "dashed"}]}.
"""

import json
import sys
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot


def draw(chart: dict[str, Any], file: str) -> None:
    """One panel; the horizontal axis is logarithmic."""
    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    for line in chart["lines"]:
        xs, ys = zip(*line["points"], strict=True)
        style = {"linestyle": "--", "alpha": 0.7} if line["dashed"] else {"marker": "o"}
        axes.plot(xs, ys, label=line["name"], **style)
    ticks = sorted({x for line in chart["lines"] for x, _ in line["points"]})
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, [f"{tick:,.10g}" for tick in ticks])
    axes.set_ylim(bottom=0)
    axes.set(title=chart["title"], xlabel=chart["x"], ylabel=chart["y"])
    axes.grid(alpha=0.3)
    axes.legend(loc="best", fontsize="small")
    figure.savefig(file, dpi=120)


if __name__ == "__main__":
    draw(json.load(sys.stdin), sys.argv[1])
