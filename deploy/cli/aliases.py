"""`myriad specialists promote`, `rollback`, `gate`, `aliases`: which version is served."""

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from deploy.cli.options import AsJson, Numbered, SpecialistId, Url, connect, id_of, numbered
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
    override: Annotated[
        bool, typer.Option("--override", help="Pass by the alias's gates; needs a --reason.")
    ] = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Put a version into service, or point another alias to it."""
    output = Output(as_json)
    name, which = _which(version)
    fields = {"version": which, "expected": expected, "reason": reason, "protected": protect}
    fields["override"] = override or None
    with connect(url) as client:
        done = client.point(name, alias, fields)
    output.show(done, _said(name, done))


def rollback(
    specialist: SpecialistId,
    alias: Alias = "prod",
    expected: Expected = None,
    reason: Reason = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Point an alias to what it pointed at before; again, to what it pointed at before that."""
    output = Output(as_json)
    name = id_of(specialist)
    with connect(url) as client:
        done = client.roll_back(name, alias, {"expected": expected, "reason": reason})
    output.show(done, _said(name, done))


def canary(
    version: Annotated[
        str,
        typer.Argument(metavar="OWNER/NAME@VERSION", help="The version to try, or its alias."),
    ],
    share: Annotated[
        float, typer.Option(min=0, max=1, help="Of the requests for the alias; 0 ends the trial.")
    ] = 0.1,
    alias: Alias = "prod",
    margin: Annotated[
        float,
        typer.Option(min=0, max=1, help="By how much its answers may fail, or be bad, more often."),
    ] = 0.1,
    least: Annotated[
        int, typer.Option(min=1, help="It is taken back after so many answers, or ratings.")
    ] = 20,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Try a version on a share of the requests; a user or a conversation stays with one version."""
    output = Output(as_json)
    name, which = _which(version)
    fields = {"version": which, "share": share, "margin": margin, "least": least, "alias": alias}
    with connect(url) as client:
        done = client.try_out(name, fields)
    said = f"{name}: nothing is tried any longer"
    if done["share"]:
        said = f"{name}@{done['version']} is tried on {done['share']:.0%} of the requests"
    output.show(done, said)


def gate(
    specialist: SpecialistId,
    conditions: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="METRIC[=LEAST]...",
            help="Held-out scores that a version must have: LEAST is a number, base (what the bare "
            "base scored) or current (what the version in service scored; the default). None "
            "takes the gates away.",
        ),
    ] = None,
    alias: Alias = "prod",
    tolerance: Annotated[float, typer.Option(min=0, help="By how much it may be worse.")] = 0.0,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Say what a version must have scored before an alias is pointed to it."""
    output = Output(as_json)
    name = id_of(specialist)
    gates = [_gate(text, tolerance) for text in conditions or ()]
    with connect(url) as client:
        done = client.point(name, alias, {"gates": gates})
    output.show(done, _said(name, done))


def score(
    version: Numbered,
    scores: Annotated[
        list[str],
        typer.Argument(
            metavar="METRIC=VALUE[/BASE]...",
            help="Held-out scores, such as exact_match=0.61/0.02; BASE is the bare base's.",
        ),
    ],
    data: Annotated[
        str | None, typer.Option(help="What it was scored on: a data set's digest or name.")
    ] = None,
    rows: Annotated[int | None, typer.Option(min=0, help="How many rows that has.")] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Note held-out scores of a version, which the gates before aliases go by."""
    from deploy.cli.specialists import evaluation

    output = Output(as_json)
    name, number = numbered(version)
    found = [_score(text) | {"data": data, "rows": rows} for text in scores]
    with connect(url) as client:
        done = client.score(name, number, found)
    output.show(done, *evaluation(done["evaluation"]))


def aliases(
    specialist: SpecialistId,
    history: Annotated[
        str | None, typer.Option(metavar="ALIAS", help="Show where this one has pointed, and why.")
    ] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """List a specialist's aliases, or the history of one."""
    output = Output(as_json)
    name = id_of(specialist)
    with connect(url) as client:
        found = client.aliases(name) if history is None else client.history(name, history)
    grid = table("alias", "version", "protected", "digest")
    if history is not None:
        grid = table("when", "version", "reason")
    for each in found["data"]:
        add_row(grid, *(_row(each) if history is None else _past(each)))
    output.show(found, grid)


def _which(version: str) -> tuple[str, str | int]:
    """A specialist's id, and which of its versions is meant."""
    from registry.reference import parse_reference

    reference = parse_reference(version)
    which = reference.digest or reference.number or reference.alias
    if which is None:
        raise typer.BadParameter(f"say which version, such as {reference.id}@2")
    return reference.id, which


def _score(text: str) -> dict[str, object]:
    metric, _, values = text.partition("=")
    value, _, base = values.partition("/")
    try:
        return {
            "metric": metric,
            "value": float(value),
            "base_value": float(base) if base else None,
        }
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no score: write exact_match=0.61/0.02") from None


def _gate(text: str, tolerance: float) -> dict[str, object]:
    metric, _, least = text.partition("=")
    try:
        at_least: object = float(least)
    except ValueError:
        at_least = least or "current"
    return {"metric": metric, "at_least": at_least, "tolerance": tolerance}


def _said(name: str, alias: dict[str, Any]) -> str:
    protected = ", protected" if alias["protected"] else ""
    gates = ", ".join(f"{gate['metric']} ≥ {gate['at_least']}" for gate in alias["gates"])
    behind = f", behind {gates}" if gates else ""
    return f"{name}:{alias['alias']} is version {alias['version']}{protected}{behind}"


def _row(alias: dict[str, Any]) -> tuple[object, ...]:
    protected = "yes" if alias["protected"] else ""
    return alias["alias"], alias["version"], protected, alias["digest"][:19] + "…"


def _past(move: dict[str, Any]) -> tuple[object, ...]:
    when = datetime.fromtimestamp(move["created"], UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return when, move["version"] or "taken away", move["reason"]
