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
Numbered = Annotated[
    str, typer.Argument(metavar="OWNER/NAME@NUMBER", help="The version, by its number.")
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


def numbered(version: str) -> tuple[str, int]:
    """The id and the number of `owner/name@2`; other references are refused."""
    from registry.reference import parse_reference

    reference = parse_reference(version)
    if reference.number is None:
        raise typer.BadParameter(f"say which version, such as {reference.id}@2")
    return reference.id, reference.number


def connect(url: str | None, key: str | None = None) -> "Client":
    """A client of the server at `url`, or of the one that the settings name.

    It sends the API key, or else the one of the settings, or the one that was saved for the server.
    """
    from deploy.client import Client
    from deploy.keyfile import saved_key
    from deploy.settings import read_settings, revealed

    settings = read_settings()
    client = Client(url or settings.server_url)
    client.use_key(key or revealed(settings.api_key) or saved_key(settings.home, client.url))
    return client


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
