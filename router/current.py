"""The request that is under way, for whoever logs."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_REQUEST: ContextVar[str | None] = ContextVar("request", default=None)


def current_request() -> str | None:
    """Its id; None outside of one."""
    return _REQUEST.get()


@contextmanager
def underway(request_id: str) -> Iterator[None]:
    """A request is under way while the context is open."""
    token = _REQUEST.set(request_id)
    try:
        yield
    finally:
        _REQUEST.reset(token)
