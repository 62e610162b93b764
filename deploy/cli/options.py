"""What several commands share: options, and how texts come in."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from deploy.client import Client

AsJson = Annotated[bool, typer.Option("--json", help="Write JSON on stdout, for programs.")]
Url = Annotated[
    str | None,
    typer.Option(metavar="URL", help="The server; default: MYRIAD_URL, or the one on MYRIAD_PORT."),
]
SpecialistId = Annotated[str, typer.Argument(metavar="OWNER/NAME", help="The specialist.")]


def group(told: str) -> typer.Typer:
    """Commands under a name of their own, which says by itself what they are for."""
    app = typer.Typer(invoke_without_command=True, help=told)

    @app.callback()
    def _alone(context: typer.Context) -> None:
        if context.invoked_subcommand is None:
            typer.echo(context.get_help())

    return app


def id_of(specialist: str) -> str:
    """The id that a SpecialistId gives, `owner/name`; others are refused."""
    from registry.reference import parse_id

    return parse_id(specialist).id


def connect(url: str | None) -> "Client":
    """A client of the server at `url`, or of the one that the settings name."""
    from deploy.client import Client
    from deploy.settings import read_settings

    return Client(url or read_settings().server_url)


def read_text(text: str | None) -> str:
    """The text that a command is about: as given, or standard input for `-` and for None."""
    try:
        found = sys.stdin.read().removesuffix("\n") if text in (None, "-") else text or ""
        found.encode()
    except UnicodeError:
        raise typer.BadParameter("the text is not valid UTF-8") from None
    if not found.strip():
        raise typer.BadParameter("the text is empty: write it after the command")
    return found
