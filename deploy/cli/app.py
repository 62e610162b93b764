"""All commands. What takes long to import is imported in the commands that need it."""

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from typing import Annotated

import typer

from deploy.cli.aliases import aliases, canary, gate, promote, rollback, score
from deploy.cli.audit import app as audit
from deploy.cli.batches import app as batches
from deploy.cli.bulk import register_all
from deploy.cli.bundles import export, import_
from deploy.cli.chat import chat
from deploy.cli.create import create
from deploy.cli.data import app as data
from deploy.cli.deploying import app as deploying
from deploy.cli.distill import distill
from deploy.cli.distill_encoder import distill_encoder
from deploy.cli.doctor import doctor
from deploy.cli.evaluation import eval_
from deploy.cli.extract import extract
from deploy.cli.feedback import feedback
from deploy.cli.jobs import app as jobs
from deploy.cli.keys import app as keys
from deploy.cli.keys import login
from deploy.cli.lineage import lineage
from deploy.cli.registry import app as registry
from deploy.cli.route import route
from deploy.cli.specialists import app as specialists
from deploy.cli.status import status
from deploy.cli.train import train
from deploy.cli.up import setup, up
from deploy.cli.usage import usage

app = typer.Typer(
    help="Very many specialised AIs, served from one shared Llama base.",
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (setup, up, login, status, doctor, chat, route, feedback):
    app.command()(command)
for way in (create, train, distill, extract, distill_encoder):
    app.command()(way)
app.command("eval")(eval_)
app.command()(lineage)
app.command()(usage)
for verb in (promote, rollback, canary, gate, score, aliases):
    specialists.command()(verb)
specialists.command()(register_all)
specialists.command()(export)
specialists.command("import")(import_)
app.add_typer(specialists, name="specialists")
app.add_typer(jobs, name="jobs")
app.add_typer(batches, name="batches")
app.add_typer(data, name="data")
app.add_typer(registry, name="registry")
app.add_typer(audit, name="audit")
app.add_typer(keys, name="keys")
app.add_typer(deploying, name="deploy")


def _say_version(asked: bool) -> None:
    if not asked:
        return
    try:
        typer.echo(f"myriad {installed('myriad')}")
    except PackageNotFoundError:
        typer.echo("myriad, from a source folder")
    raise typer.Exit


@app.callback(invoke_without_command=True)
def _myriad(
    context: typer.Context,
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_say_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Very many specialised AIs, served from one shared Llama base."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
