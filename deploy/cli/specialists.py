"""`myriad specialists`: register, list, show, retire, restore, visibility, release."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import RenderableType
from rich.text import Text

from deploy.cli.elsewhere import adapter_folder, of_peft
from deploy.cli.options import (
    AsJson,
    Numbered,
    SpecialistId,
    Url,
    connect,
    group,
    id_of,
    numbered,
)
from deploy.cli.output import Output, add_row, facts, printable, table
from registry.files import CONFIG, WEIGHTS, AdapterFiles
from registry.view import Visibility

if TYPE_CHECKING:
    from rich.tree import Tree

    from deploy.client import Client

FACTS = (
    *("id", "version", "digest", "visibility", "quarantined", "created"),
    *("description", "tags", "language", "license", "price", "base"),
)
SHOWN_EXAMPLES = 5

app = group("Register, list, promote and retire specialists.")


@app.command()
def register(
    specialist: SpecialistId,
    folder: Annotated[
        str,
        typer.Argument(
            metavar="FOLDER",
            help=f"Holds {CONFIG} and {WEIGHTS}, or what MLX trained; or a hub's OWNER/NAME, or "
            "OWNER/NAME@REVISION.",
        ),
    ],
    card: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="What it says of itself, in YAML or JSON; default: card.yaml or card.json in the "
            "folder or beside it.",
        ),
    ] = None,
    description: Annotated[
        str | None, typer.Option(help="What it is for; needed when there is no card.")
    ] = None,
    alias: Annotated[
        str | None,
        typer.Option(
            help="What points to the version from now on; default: prod, if the content is new."
        ),
    ] = None,
    visibility: Annotated[
        Visibility | None,
        typer.Option(help="Who finds it besides its owner; default: private, if it is new."),
    ] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Put an adapter folder into service, or a new version of it."""
    from deploy.cli.cards import find_card, load_card

    output = Output(as_json)
    name = id_of(specialist)
    found = adapter_folder(folder, output)
    loaded = load_card(name, card or find_card(found), description, found)
    with connect(url) as client, of_peft(found) as plain:
        fields = loaded.model_dump(mode="json", exclude_defaults=True)
        version = send(client, fields, plain, alias, visibility)
    output.show(version, registered(version, name))


@app.command("list")
def list_(
    search: Annotated[
        str | None, typer.Option(help="Words that must occur in name, description or tags.")
    ] = None,
    tag: Annotated[str | None, typer.Option(help="A tag that must be there.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Show at most so many.")] = 50,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """List the specialists in service."""
    output = Output(as_json)
    with connect(url) as client:
        page = client.specialists(search, tag, limit)
    output.show(page, *_listed(page))


@app.command()
def show(specialist: SpecialistId, url: Url = None, as_json: AsJson = False) -> None:
    """Show one specialist: its version, its card, its scores."""
    output = Output(as_json)
    name = id_of(specialist)
    with connect(url) as client:
        found = client.specialist(name)
    output.show(found, *_described(found))


@app.command()
def retire(
    specialist: SpecialistId,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do not ask; without a terminal, nothing is asked.")
    ] = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Take a specialist out of service; answers in progress are finished."""
    output = Output(as_json)
    name = id_of(specialist)
    if not yes and sys.stdin.isatty() and not _agreed(f"Retire {name}?", output):
        raise typer.Exit(1)
    with connect(url) as client:
        client.retire(name)
    output.show({"id": name, "retired": True}, f"{name} is retired")


@app.command()
def tree(
    domain: Annotated[str | None, typer.Option(help="Only this one.")] = None,
    limit: Annotated[
        int, typer.Option(min=0, max=1000, help="Specialists that a niche shows.")
    ] = 10,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Draw what there is: domains, their niches, and the specialists of each."""
    output = Output(as_json)
    with connect(url) as client:
        found = client.tree(domain, limit)
    output.show(found, _drawn(found))


@app.command("visibility")
def show_to(
    specialist: SpecialistId,
    visibility: Annotated[
        Visibility,
        typer.Argument(
            help="public: listed, and auto may choose it. unlisted: for whoever names it. "
            "private: for its owner's keys."
        ),
    ],
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Say who finds a specialist besides its owner."""
    output = Output(as_json)
    name = id_of(specialist)
    with connect(url) as client:
        done = client.show_to(name, visibility)
    output.show(done, f"{name} is {done['visibility']}")


@app.command()
def restore(specialist: SpecialistId, url: Url = None, as_json: AsJson = False) -> None:
    """Bring a retired specialist back as it was."""
    output = Output(as_json)
    name = id_of(specialist)
    with connect(url) as client:
        found = client.restore(name)
    output.show(found, *_described(found))


@app.command()
def release(
    version: Numbered,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Let a quarantined version be served, after you looked at it; promote it then."""
    output = Output(as_json)
    name, number = numbered(version)
    with connect(url) as client:
        released = client.release(name, number)
    output.show(released, f"{version} is released; `myriad specialists promote` serves it")


def _drawn(found: dict[str, Any]) -> "Tree":
    from rich.tree import Tree

    about = "about " if found.get("estimated") else ""
    drawn = Tree(f"{about}{found.get('specialists', 0):,} specialists")
    for domain in found.get("domains") or []:
        branch = drawn.add(_counted(domain, about))
        for niche in domain.get("niches") or []:
            inner = branch.add(_counted(niche, about)) if niche.get("name") else branch
            shown = niche.get("specialists") or []
            for name in shown:
                inner.add(printable(name))
            if (more := niche.get("count", 0) - len(shown)) > 0:
                inner.add(Text(f"{about}{more:,} more", style="dim"))
    return drawn


def _counted(each: dict[str, Any], about: str) -> Text:
    name, count = printable(each.get("name")), f"{about}{each.get('count', 0):,}"
    return Text.assemble((name, "bold"), " ", (count, "dim"))


def send(
    client: "Client",
    card: dict[str, Any],
    folder: Path,
    alias: str | None = None,
    visibility: str | None = None,
) -> dict[str, Any]:
    """Register a folder's two files.

    Raises:
        BadParameter: one of them is not there, or larger than any registry takes.
    """
    from registry.limits import Limits

    files = AdapterFiles.in_folder(folder)
    for name in files.missing():
        raise typer.BadParameter(f"{folder} has no {name}")
    for file in (files.config, files.weights):
        if file.stat().st_size > Limits().max_bytes:
            raise typer.BadParameter(f"{file} is over {Limits().max_bytes >> 20} MiB")
    return client.register(card, files.config, files.weights, alias, visibility)


def registered(version: dict[str, Any], name: str) -> RenderableType:
    """What to say of a version that was registered: what points to it decides who is served it."""
    aliases = version.get("aliases") or []
    known = {key: version.get(key) for key in ("version", "digest", "visibility")}
    warned = {"warning": "\n".join(version.get("warnings") or ()) or None}
    if "prod" in aliases:
        return facts(
            {"in service": name, **known, "try": f'myriad chat --model {name} "your question"'}
            | warned
        )
    verb = f"myriad specialists promote {name}@{version.get('version')}"
    mend = f"nothing was moved; {verb} puts it into service"
    served = ", ".join(f"{name}:{alias}" for alias in aliases) or mend
    return facts({"registered": name, **known, "served as": served} | warned)


def _agreed(question: str, output: Output) -> bool:
    output.notes.print(f"{question} [y/N] ", end="")
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _listed(page: dict[str, Any]) -> list[RenderableType]:
    grid = table("specialist", "version", "tags", "description")
    for each in page["data"]:
        tags = ", ".join(each.get("tags") or ())
        add_row(grid, each.get("id"), each.get("version"), tags, each.get("description"))
    more = (
        ["There are more: raise --limit, or narrow it with --search."] if page["has_more"] else []
    )
    return [grid, *more] if page["data"] else ["No specialist matches."]


def _described(found: dict[str, Any]) -> list[RenderableType]:
    pairs: dict[str, object] = {name: found.get(name) for name in FACTS}
    created = found.get("created")
    if isinstance(created, int):
        pairs["created"] = datetime.fromtimestamp(created, UTC).strftime("%Y-%m-%d %H:%M UTC")
    pairs["tags"] = ", ".join(found.get("tags") or ()) or None
    examples = found.get("examples") or []
    more = len(examples) - SHOWN_EXAMPLES
    pairs["examples"] = "\n".join(examples[:SHOWN_EXAMPLES]) or None
    pairs[""] = f"and {more} more" if more > 0 else None
    return [facts(pairs), *evaluation(found.get("evaluation") or ())]


def evaluation(scores: Any) -> list[RenderableType]:
    """A table of held-out scores, the specialist beside the bare base."""
    if not scores:
        return []
    grid = table("held-out score", "specialist", "base", "rows")
    for each in scores:
        bare = each.get("base_value")
        shown = None if bare is None else f"{bare:.3f}"
        add_row(grid, each["metric"], f"{each['value']:.3f}", shown, each.get("rows"))
    return [grid]
