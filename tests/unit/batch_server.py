"""A server that answers batches too, as a router does; and files of requests."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from served import BASE
from web import serve

from router.api.app import create_app
from router.batches.worker import BatchWorker
from router.service import Service

CHAT = "/v1/chat/completions"


def line(name: str, text: str = "hello", url: str = CHAT, **body) -> dict:
    """A request of a file."""
    said = {"model": BASE, "messages": [{"role": "user", "content": text}]} | body
    return {"custom_id": name, "method": "POST", "url": url, "body": said}


def file_of(*lines: dict) -> bytes:
    """A file of requests."""
    return b"".join(json.dumps(each).encode() + b"\n" for each in lines)


@contextmanager
def working(made: Service) -> Iterator[str]:
    """Its URL; it works from the first request on."""
    app = create_app(made)
    works = BatchWorker(made, app)

    async def with_worker(scope, receive, send) -> None:
        if works._working is None:
            works.start()
        await app(scope, receive, send)
        if scope["path"] == "/stop":
            await works.stop()

    with serve(with_worker) as url:
        yield url
        httpx.get(f"{url}/stop", trust_env=False)
