"""What the endpoints of an application serve: as a parameter of their functions."""

from typing import Annotated

from fastapi import Depends, FastAPI
from starlette.requests import HTTPConnection

from router.service import Service


async def _service(connection: HTTPConnection) -> Service:
    service: Service = connection.app.state.service
    return service


Served = Annotated[Service, Depends(_service)]


def serve(app: FastAPI, service: Service) -> None:
    """Let the endpoints of `app` serve this."""
    app.state.service = service
