"""API keys in the words of the API."""

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import Field

from registry.keys import Key
from registry.scopes import Scope
from router.wire.base import Body, Text
from router.wire.moments import seconds

MAX_SECONDS = 253_402_300_799
"""The end of the year 9999."""


PerMinute = Annotated[int, Field(ge=1, le=10**9)]


class QuotaRequest(Body):
    """How much may be done with a key; what is left out is not bounded."""

    requests_per_minute: PerMinute | None = None
    tokens_per_minute: PerMinute | None = None
    specialists: int | None = Field(None, ge=0, le=10**9)
    bytes: int | None = Field(None, ge=0, le=2**62)


class KeyRequest(Body):
    """What a key is for."""

    name: Annotated[Text, Field(description="What it is for, for people.")]
    scopes: list[Annotated[Scope, Field(strict=False)]] = Field(
        max_length=len(Scope), examples=[["infer"]]
    )
    owner: Text | None = Field(None, description="Whose specialists it sees and changes.")
    expires: int | None = Field(
        None, ge=0, le=MAX_SECONDS, description="From when on it is refused, in Unix seconds."
    )

    quota: QuotaRequest = QuotaRequest()

    @property
    def expiry(self) -> datetime | None:
        """The same moment; None for never."""
        return None if self.expires is None else datetime.fromtimestamp(self.expires, UTC)


def shown(key: Key) -> dict[str, Any]:
    """What is known of a key, which is not the key itself."""
    return {
        "id": key.id,
        "object": "api_key",
        "name": key.name,
        "owner": key.owner,
        "scopes": sorted(key.scopes),
        "quota": key.quota.set,
        "created": int(key.created.timestamp()),
        "expires": seconds(key.expires),
        "revoked": seconds(key.revoked),
    }
