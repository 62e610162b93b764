"""`myriad audit`: what was changed in a registry, and whether the log is whole."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from deploy.cli.options import AsJson, group
from deploy.cli.output import Output, add_row, printable, table

if TYPE_CHECKING:
    from registry.audit import Entry

app = group("Read and verify the audit log of the home's registry.")


@app.command("list")
def list_(
    specialist: Annotated[
        str | None, typer.Option(metavar="OWNER/NAME", help="Only what was done to this one.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Show the last so many.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List the last changes, the latest at the end."""
    from deploy.settings import read_settings
    from registry import archive
    from registry.audit import as_json as entry_as_json

    output = Output(as_json)
    entries = archive.audit_log(read_settings().location, limit, specialist)
    grid = table("entry", "when", "what", "specialist", "")
    for each in entries:
        add_row(grid, *_row(each))
    output.show([entry_as_json(each) for each in entries], grid)


@app.command()
def verify(
    head: Annotated[
        str | None,
        typer.Option(
            help="A digest that was the last once, kept elsewhere; it must still be there."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say whether no entry was changed or taken out; exit code 1 if one was."""
    from deploy.settings import read_settings
    from registry import archive

    output, home = Output(as_json), read_settings().location
    found = list(archive.audit_problems(home, head))
    last = next(iter(archive.audit_log(home, 1)), None)
    digest = last.digest if last else None
    said = found or [f"All {last.seq if last else 0} entries are whole; the last is {digest}."]
    output.show({"ok": not found, "problems": found, "head": digest}, *said)
    if found:
        raise typer.Exit(1)


def _row(entry: "Entry") -> tuple[object, ...]:
    when = entry.created.strftime("%Y-%m-%d %H:%M:%S UTC")
    details = printable(json.dumps(entry.details, ensure_ascii=False))
    return entry.seq, when, entry.action, entry.specialist, details
