"""`myriad deploy`: the same application, elsewhere."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from deploy.cli.options import AsJson, group
from deploy.cli.output import Output

app = group("Carry the application to Docker, Kubernetes or any Ray cluster.")


class Kind(StrEnum):
    """What can be rendered."""

    KUBERNETES = "kubernetes"
    DOCKER = "docker"
    SERVE = "serve"


@app.command()
def render(
    kind: Annotated[Kind, typer.Argument(help="What for.")],
    out: Annotated[Path, typer.Option(file_okay=False, help="The folder to write.")],
    image: Annotated[str, typer.Option(help="The container image.")] = "myriad:latest",
    name: Annotated[str, typer.Option(help="What all that is made is called.")] = "myriad",
    secret: Annotated[
        str | None,
        typer.Option(help="The Kubernetes secret with the database's URL; default: the name."),
    ] = None,
    redis: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Keeps the cluster's state; default: its own."),
    ] = None,
    base_claim: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The volume claim with the base's folder, or for what comes from a hub.",
        ),
    ] = None,
    base_gib: Annotated[
        float | None,
        typer.Option(min=0, help="What the base's weights take; default: as its files here."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write the files of a deployment, from the settings as they are now."""
    from deploy.rendering.docker import docker_files
    from deploy.rendering.files import Target, write
    from deploy.rendering.kubernetes import kubernetes_files
    from deploy.rendering.serve import serve_files
    from deploy.settings import read_settings

    target = Target(read_settings(), name, image, secret or name, redis, base_claim, base_gib)
    renders = {
        Kind.KUBERNETES: kubernetes_files,
        Kind.DOCKER: docker_files,
        Kind.SERVE: serve_files,
    }
    written = write(renders[kind](target), out)
    output = Output(as_json)
    output.show([str(path) for path in written], "\n".join(map(str, written)))
