"""`myriad specialists register-all`: each adapter of a folder, under its own folder's name."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deploy.cli.elsewhere import of_peft
from deploy.cli.options import AsJson, Url, connect, id_of
from deploy.cli.output import FAILURES, Output, printable
from deploy.cli.specialists import send
from deploy.errors import ServerRefused
from registry.files import CONFIG
from registry.view import Visibility

if TYPE_CHECKING:
    from deploy.client import Client

AT_ONCE = 2
"""Fewer than a router takes, so that others can register too."""
BUSY = (429, 503)
PAUSES = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Seconds before a server that was busy is asked again."""
SHOWN = 20


def register_all(
    owner: Annotated[str, typer.Argument(help="Whose they are: the first part of their names.")],
    folder: Annotated[
        Path,
        typer.Argument(
            exists=True,
            file_okay=False,
            help="Each folder in it that holds an adapter becomes a specialist of its name.",
        ),
    ],
    visibility: Annotated[
        Visibility | None,
        typer.Option(help="Who finds them besides their owner; default: private, if new."),
    ] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Put all adapters of a folder into service; what is there already stays as it is."""
    output = Output(as_json)
    folders = sorted(each.parent for each in folder.glob(f"*/{CONFIG}"))
    if not folders:
        raise typer.BadParameter(f"no folder in {folder} holds an {CONFIG}")
    failed: dict[str, str] = {}
    with connect(url) as client, output.told() as tell:
        client.ready()
        for done, (each, failure) in enumerate(_each(client, owner, folders, visibility), 1):
            tell("Registering", done, len(folders))
            failed |= {} if failure is None else {each.name: failure}
    registered = len(folders) - len(failed)
    output.show({"registered": registered, "failed": failed}, *_described(registered, failed))
    if failed:
        raise typer.Exit(1)


def _each(
    client: "Client", owner: str, folders: Sequence[Path], visibility: str | None
) -> Iterator[tuple[Path, str | None]]:
    """Register some at once; gives each with why it failed, as they end."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        try:
            running = {
                pool.submit(_register, client, owner, each, visibility): each for each in folders
            }
            for future in as_completed(running):
                yield running[future], future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _register(client: "Client", owner: str, folder: Path, visibility: str | None) -> str | None:
    """Why one could not be registered; None if it was, or had been."""
    try:
        card = _card(id_of(f"{owner}/{folder.name}"), folder)
        with of_peft(folder) as plain:
            _patiently(client, card, plain, visibility)
    except (*FAILURES, typer.BadParameter) as error:
        return str(error)
    return None


def _card(specialist: str, folder: Path) -> dict[str, Any]:
    """The folder's own card; of one without, the words of its name say what it is for."""
    from deploy.cli.cards import find_card, load_card

    words = folder.name.replace("-", " ").replace("_", " ").replace(".", " ")
    card = find_card(folder, beside=False)
    loaded = load_card(specialist, card, None, folder, otherwise=words)
    return loaded.model_dump(mode="json", exclude_defaults=True)


def _patiently(
    client: "Client", card: dict[str, Any], folder: Path, visibility: str | None
) -> None:
    """Send one again while the server has no room for it.

    Raises:
        ServerRefused: it refuses it, or has had no room for long.
    """
    for pause in (*PAUSES, None):
        try:
            send(client, card, folder, None, visibility)
            return
        except ServerRefused as error:
            if error.status not in BUSY or pause is None:
                raise
        time.sleep(pause)


def _described(registered: int, failed: dict[str, str]) -> list[str]:
    lines = [f"{printable(name)}: {printable(why)}" for name, why in sorted(failed.items())]
    more = [f"… and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    count = f"{registered} in service" + (f", {len(lines)} not" if lines else "")
    return [*lines[:SHOWN], *more, count]
