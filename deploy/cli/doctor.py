"""`myriad doctor`: is all well, and if not, what to do."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer
from rich.text import Text

from deploy.cli.options import AsJson, Url, connect
from deploy.cli.output import Output, printable

if TYPE_CHECKING:
    from deploy.cli.checks import Check

STYLES = {"ok": "green", "warn": "yellow", "fail": "red"}


def doctor(url: Url = None, as_json: AsJson = False) -> None:
    """Check this machine and the server, and say how to mend what is wrong."""
    from deploy.cli.checks import all_checks
    from deploy.settings import read_settings

    output = Output(as_json)
    with connect(url) as client:
        checks = list(all_checks(read_settings(), client))
    well = all(check.state != "fail" for check in checks)
    output.show({"ok": well, "checks": [asdict(check) for check in checks]}, *_lines(checks))
    if not well:
        raise typer.Exit(1)


def _lines(checks: "Sequence[Check]") -> Iterator[Text]:
    """A finding a line, what mends it below it: no cell cuts a path or a command in two."""
    width = max(len(check.name) for check in checks)
    for check in checks:
        found = printable(check.found)
        yield Text(f"{check.state:<6}{check.name:<{width}}  {found}", STYLES[check.state])
        if check.mend:
            yield Text(f"{'':<{width + 8}}{printable(check.mend)}")
