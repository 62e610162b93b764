"""`myriad status --watch`: what all replicas do, as it changes."""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from deploy.cli.figures import Figures
from deploy.cli.output import Output, add_row, table
from deploy.errors import DeployError

if TYPE_CHECKING:
    from deploy.client import Client

SECONDS = 1.0
MIB = 2**20
COLUMNS = (
    *("engine", "tokens/s", "prompt/s", "rows", "waiting", "pages", "adapters", "loads/s"),
    "memory",
)
ANSWERED = 8


class Pace:
    """Figures of two looks, and how fast those that only grow have grown between them."""

    def __init__(self, now: Figures, before: Figures, seconds: float) -> None:
        self.now = now
        self._before = before
        self._seconds = max(seconds, 1e-6)

    def rate(self, engine: str, name: str) -> float:
        """Of a figure of an engine, in a second; nothing for one that has just come."""
        own, old = self.now.engines[engine], self._before.engines.get(engine)
        grown = own.get(name, 0.0) - old.get(name, 0.0) if old else 0.0
        return max(grown, 0.0) / self._seconds


def watch(client: "Client", output: Output) -> None:
    """Show the replicas until Ctrl-C; without a terminal, one view or one object after another."""
    before, looked = Figures.read(client.metrics()), time.monotonic()
    with Live(console=output.results, auto_refresh=False, transient=False) as live:
        while True:
            time.sleep(SECONDS)
            try:
                now = Figures.read(client.metrics())
            except DeployError as error:
                _show(live, output, {"message": str(error)}, Text(str(error), style="red"))
                continue
            seconds, looked = time.monotonic() - looked, time.monotonic()
            pace = Pace(now, before, seconds)
            _show(live, output, told(pace), view(pace, client.url))
            before = now


def told(pace: Pace) -> dict[str, object]:
    """What programs are told of one look."""
    return {
        "routers": pace.now.routers,
        "engines": {
            name: {
                **figures,
                "tokens_per_second": round(pace.rate(name, "generated_tokens_total"), 1),
            }
            for name, figures in pace.now.engines.items()
        },
    }


def view(pace: Pace, url: str) -> RenderableType:
    """What people see of one look."""
    now = pace.now
    grid = table(*COLUMNS)
    for name, own in now.engines.items():
        add_row(
            grid,
            name,
            f"{pace.rate(name, 'generated_tokens_total'):.0f}",
            f"{pace.rate(name, 'prompt_tokens_total'):.0f}",
            f"{own.get('running', 0):.0f}",
            f"{own.get('waiting', 0):.0f}",
            _taken(own),
            f"{own.get('adapters_resident', 0):.0f}, {own.get('adapter_bytes', 0) / MIB:.0f} MiB",
            f"{pace.rate(name, 'adapter_loads_total'):.1f}",
            f"{own.get('memory_bytes', 0) / MIB:.0f} MiB",
        )
    most = sorted(now.answers.items(), key=lambda pair: -pair[1])[:ANSWERED]
    answered = "  ".join(f"{name} {count}" for name, count in most)
    head = f"{url}: {now.routers} routers, {len(now.engines)} engines, "
    head += f"{now.gauges.get('specialists') or 0} specialists"
    return Group(Text(head, style="bold"), grid, Text(answered, style="dim"))


def _taken(own: Mapping[str, float]) -> str:
    """The share of pages that is taken; vLLM keeps its own."""
    return f"{1 - own['pages_free'] / own['pages']:.0%}" if own.get("pages") else "–"


def _show(live: Live, output: Output, value: object, seen: RenderableType) -> None:
    if output.as_json:
        output.json(value)
    else:
        live.update(seen, refresh=True)
