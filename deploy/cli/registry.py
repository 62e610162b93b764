"""`myriad registry`: back up, restore, verify and tidy what is registered in a home."""

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deploy.cli.options import AsJson, group
from deploy.cli.output import Output

if TYPE_CHECKING:
    from registry.archive import Contents

app = group("Back up, restore, verify and tidy the registry in MYRIAD_HOME.")


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(dir_okay=False, help="What to write, a tar file.")],
    as_json: AsJson = False,
) -> None:
    """Write all that is registered into one file; a server may go on meanwhile."""
    from deploy.settings import read_settings
    from registry import archive

    output = Output(as_json)
    file.parent.mkdir(parents=True, exist_ok=True)
    with output.told("backup") as tell:
        found = archive.backup(
            read_settings().location, file, lambda done, of: tell("copying blobs", done, of)
        )
    output.show({"file": str(file), **asdict(found)}, f"{file} holds {_said(found)}")


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A backup.")],
    as_json: AsJson = False,
) -> None:
    """Fill an empty home from a backup; then start the server."""
    from deploy.settings import read_settings
    from registry import archive

    output, home = Output(as_json), read_settings().location
    with output.told("restore") as tell:
        found = archive.restore(file, home, lambda done, of: tell("storing blobs", done, of))
    output.show({"home": str(home), **asdict(found)}, f"{home} has {_said(found)} now")


@app.command()
def verify(as_json: AsJson = False) -> None:
    """Read everything again: database, digests, blobs; exit code 1 if anything is damaged."""
    from deploy.settings import read_settings
    from registry import archive

    output = Output(as_json)
    with output.told("verify") as tell:
        read = partial(tell, "reading blobs")
        found = list(archive.problems(read_settings().location, read))
    output.show({"ok": not found, "problems": found}, *(found or ["All is sound."]))
    if found:
        raise typer.Exit(1)


@app.command()
def gc(
    days: Annotated[
        float | None,
        typer.Option(min=0, help="Give up what was retired so long ago; default: the setting."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Remove files of specialists retired long ago, and what killed writers left behind."""
    from datetime import timedelta

    from deploy.settings import read_settings
    from registry.collection import collect

    output, settings = Output(as_json), read_settings()
    retention = timedelta(days=settings.retention_days if days is None else days)
    with output.told("gc") as tell:
        found = collect(
            settings.location, retention, report=lambda done, of: tell("looking at blobs", done, of)
        )
    gone = f"{found.specialists} specialists given up, {found.files} files removed"
    output.show(asdict(found), f"{gone} ({found.nbytes / 1e6:.1f} MB)")


def _said(found: "Contents") -> str:
    return f"{found.versions} versions in {found.blobs} blobs, {found.nbytes / 1e6:.1f} MB"
