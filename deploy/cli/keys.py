"""`myriad keys`: make, list and revoke the API keys of the home's server; `myriad login`."""

import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from deploy.cli.options import AsJson, Url, connect, group
from deploy.cli.output import Output, add_row, facts, table
from registry.scopes import Scope

if TYPE_CHECKING:
    from registry.keys import Key

USUAL = (Scope.INFER, Scope.READ, Scope.WRITE, Scope.DEPLOY)

app = group(
    "Make, list and revoke the API keys of the home's server; from the first one on it asks."
)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What the key is for, for people.")],
    owner: Annotated[
        str | None,
        typer.Option(help="Whose specialists it sees and changes; none for an admin's."),
    ] = None,
    scope: Annotated[
        list[Scope] | None,
        typer.Option(help="What it may be used for; default: all but metrics and admin."),
    ] = None,
    days: Annotated[
        int | None, typer.Option(min=1, max=36500, help="Refuse it after so many days.")
    ] = None,
    requests: Annotated[int | None, typer.Option(min=1, help="Most requests a minute.")] = None,
    tokens: Annotated[int | None, typer.Option(min=1, help="Most tokens a minute.")] = None,
    specialists: Annotated[
        int | None, typer.Option(min=0, help="Specialists from which on it registers no new one.")
    ] = None,
    mib: Annotated[
        int | None,
        typer.Option(
            min=0, help="MiB of versions, of data files, and of kept chats: each may be so many."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a key, and show it this once."""
    from deploy.home import opened_keys
    from deploy.settings import read_settings
    from registry.quota import Quota
    from router.wire.key import shown

    output = Output(as_json)
    quota = Quota(requests, tokens, specialists, None if mib is None else mib << 20)
    expires = None if days is None else datetime.now(UTC) + timedelta(days=days)
    with opened_keys(read_settings().location) as keys:
        made, text = keys.create(name, scope or USUAL, owner, expires, quota)
    told = facts({"key": text, **_described(made), "note": "it cannot be shown again"})
    output.show(shown(made) | {"key": text}, told)


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the keys, the latest first."""
    from deploy.home import opened_keys
    from deploy.settings import read_settings
    from router.wire.key import shown

    output = Output(as_json)
    with opened_keys(read_settings().location) as keys:
        found = keys.list()
    grid = table("id", "name", "owner", "scopes", "")
    for key in found:
        state = "" if key.is_valid else "revoked" if key.revoked else "expired"
        add_row(grid, key.id, key.name, key.owner or "all", " ".join(sorted(key.scopes)), state)
    output.show([shown(key) for key in found], grid if found else "There are no keys.")


@app.command()
def revoke(
    key: Annotated[str, typer.Argument(metavar="ID", help="The key's id, as `keys list` shows.")],
    as_json: AsJson = False,
) -> None:
    """Refuse a key from now on; servers notice within seconds."""
    from deploy.home import opened_keys
    from deploy.settings import read_settings
    from router.wire.key import shown

    output = Output(as_json)
    with opened_keys(read_settings().location) as keys:
        revoked = keys.revoke(key)
    output.show(shown(revoked), f"{revoked.name} ({revoked.id}) is revoked")


def login(url: Url = None, as_json: AsJson = False) -> None:
    """Read an API key from standard input, and keep it for the commands that talk to the server."""
    from deploy.keyfile import save_key
    from deploy.settings import read_settings

    output = Output(as_json)
    key = typer.prompt("API key", hide_input=True) if sys.stdin.isatty() else sys.stdin.readline()
    with connect(url, key.strip()) as client:
        client.models()
        file = save_key(read_settings().home, client.url, key.strip())
    output.show({"url": client.url, "file": str(file)}, f"{client.url} knows this key; see {file}")


def _described(key: "Key") -> dict[str, object]:
    expires = key.expires.strftime("%Y-%m-%d %H:%M UTC") if key.expires else None
    owner, scopes = key.owner or "all", " ".join(sorted(key.scopes))
    bounds = (f"{bound:,} {name.replace('_', ' ')}" for name, bound in key.quota.set.items())
    told = {"id": key.id, "owner": owner, "scopes": scopes, "expires": expires}
    return {**told, "quota": ", ".join(bounds) or None}
