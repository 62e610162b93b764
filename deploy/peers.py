"""The other routers, as one of them reaches them."""

from collections.abc import Mapping
from typing import Any

from deploy.broadcast import broadcast


class Peers:
    """Implements the router's `Peers` over a handle to its own deployment."""

    def __init__(self, handle: Any) -> None:
        """Reach the replicas behind a handle, this one among them."""
        self._handle = handle

    async def expositions(self) -> Mapping[str, bytes]:
        """See `router.service.Peers`."""
        return dict(await broadcast(self._handle, "exposition"))
