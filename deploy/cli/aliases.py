"""`myriad specialists promote`, `rollback`, `aliases`: which version is served."""

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from deploy.cli.options import AsJson, SpecialistId, Url, connect
from deploy.cli.output import Output, add_row, table

Alias = Annotated[str, typer.Option(metavar="ALIAS", help="What points to a version.")]
Expected = Annotated[
    int | None,
    typer.Option(
        min=0, help="The version that it points to now, else nothing is moved; 0 for none."
    ),
]
Reason = Annotated[str | None, typer.Option(help="Why; kept in the alias's history.")]


def promote(
    version: Annotated[
        str,
        typer.Argument(
            metavar="OWNER/NAME@VERSION",
            help="A version by number or digest, or OWNER/NAME:ALIAS for that of another alias.",
        ),
    ],
    alias: Alias = "prod",
    expected: Expected = None,
    reason: Reason = None,
    protect: Annotated[
        bool | None,
        typer.Option(help="Let the alias move only with --expected from now on, or freely again."),
    ] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Put a version into service, or point another alias to it."""
    from registry.reference import parse_reference

    output = Output(as_json)
    reference = parse_reference(version)
    which = reference.digest or reference.number or reference.alias
    if which is None:
        raise typer.BadParameter(f"say which version, such as {reference.id}@2")
    fields = {"version": which, "expected": expected, "reason": reason, "protected": protect}
    with connect(url) as client:
        done = client.point(reference.id, alias, fields)
    output.show(done, _said(reference.id, done))


def rollback(
    specialist: SpecialistId,
    alias: Alias = "prod",
    expected: Expected = None,
    reason: Reason = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Point an alias to what it pointed at before; again, to what it pointed at before that."""
    from registry.reference import parse_id

    output = Output(as_json)
    name = parse_id(specialist).id
    with connect(url) as client:
        done = client.roll_back(name, alias, {"expected": expected, "reason": reason})
    output.show(done, _said(name, done))


def aliases(
    specialist: SpecialistId,
    history: Annotated[
        str | None, typer.Option(metavar="ALIAS", help="Show where this one has pointed, and why.")
    ] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """List a specialist's aliases, or the history of one."""
    from registry.reference import parse_id

    output = Output(as_json)
    name = parse_id(specialist).id
    with connect(url) as client:
        found = client.aliases(name) if history is None else client.history(name, history)
    grid = table("alias", "version", "protected", "digest")
    if history is not None:
        grid = table("when", "version", "reason")
    for each in found["data"]:
        add_row(grid, *(_row(each) if history is None else _past(each)))
    output.show(found, grid)


def _said(name: str, alias: dict[str, Any]) -> str:
    protected = ", protected" if alias["protected"] else ""
    return f"{name}:{alias['alias']} is version {alias['version']}{protected}"


def _row(alias: dict[str, Any]) -> tuple[object, ...]:
    protected = "yes" if alias["protected"] else ""
    return alias["alias"], alias["version"], protected, alias["digest"][:19] + "…"


def _past(move: dict[str, Any]) -> tuple[object, ...]:
    when = datetime.fromtimestamp(move["created"], UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return when, move["version"] or "taken away", move["reason"]
