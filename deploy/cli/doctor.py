"""`myriad doctor`: is all well, and if not, what to do."""

from dataclasses import asdict

import typer

from deploy.cli.options import AsJson, Url, connect
from deploy.cli.output import Output, add_row, table

STYLES = {"ok": "green", "warn": "yellow", "fail": "red"}


def doctor(url: Url = None, as_json: AsJson = False) -> None:
    """Check this machine and the server, and say how to mend what is wrong."""
    from deploy.cli.checks import all_checks
    from deploy.settings import read_settings

    output = Output(as_json)
    with connect(url) as client:
        checks = list(all_checks(read_settings(), client))
    well = all(check.state != "fail" for check in checks)
    grid = table("check", "", "found", "how to mend")
    for check in checks:
        add_row(grid, check.name, check.state, check.found, check.mend, style=STYLES[check.state])
    output.show({"ok": well, "checks": [asdict(check) for check in checks]}, grid)
    if not well:
        raise typer.Exit(1)
