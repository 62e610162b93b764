"""Aliases in the words of the API."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from registry.aliases import MAX_REASON
from registry.gates import Gates
from registry.queries import PROD
from registry.trials import USUAL, Record
from registry.version import Alias, Canary, Move
from router.wire.base import Body, Text, refused

Which = Annotated[
    Annotated[int, Field(ge=1)] | Text,
    Field(description="A number, a digest, or an alias, whose version is meant."),
]
Expected = Annotated[
    int, Field(ge=0, description="The version that it points to now; 0 when there is none.")
]
Reason = Annotated[Text, Field(max_length=MAX_REASON, description="Kept in its history.")]


class AliasRequest(Body):
    """Where an alias is to point, and whether it is protected."""

    version: Which | None = None
    expected: Expected | None = None
    reason: Reason | None = None
    protected: bool | None = Field(None, description="Whether it moves only with 'expected'.")
    gates: Gates | None = Field(None, description="What a version must have scored.", strict=False)
    override: bool | None = Field(None, description="Whether gates are passed by; say why.")

    @model_validator(mode="after")
    def _asks_something(self) -> Self:
        if self.version is None and self.protected is None and self.gates is None:
            raise refused("missing", "version", "is needed, or 'protected' or 'gates'; add one")
        if self.override and not self.reason:
            raise refused("missing", "reason", "is needed where gates are overridden; say why")
        return self


class CanaryRequest(Body):
    """Which version is tried, and on which share of the requests for an alias."""

    version: Which
    alias: Text = Field(PROD, description="Of whose requests it gets a share.")
    share: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False, description="0 ends it.")]
    margin: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = Field(
        USUAL.margin, description="By how much more of its answers may fail, or be called bad."
    )
    least: Annotated[int, Field(ge=1, le=10**6)] = Field(
        USUAL.least, description="Of how many answers, or ratings, at least."
    )


class RollbackRequest(Body):
    """What to know and to say of a rollback."""

    expected: Expected | None = None
    reason: Reason | None = None


def reference(specialist: str, version: int | str) -> str:
    """The version that is meant, as a reference."""
    named = isinstance(version, str) and not version.startswith("sha256:")
    return f"{specialist}{':' if named else '@'}{version}"


def tried(canary: Canary | None, trial: Sequence[Record] = ()) -> dict[str, Any]:
    """What is tried, if anything is, how it fares, and why it was taken back, if it was."""
    share = {"object": "canary", "share": canary.share if canary else 0.0}
    if canary is None:
        return share
    said = {"version": canary.number, "digest": canary.digest, "verdict": canary.verdict}
    return share | said | {"trial": [_fared(record) for record in trial]}


def _fared(record: Record) -> dict[str, Any]:
    counts = asdict(record)
    return {"version": counts.pop("number"), **counts}


def shown(alias: Alias) -> dict[str, Any]:
    """An alias."""
    return {
        "alias": alias.name,
        "object": "alias",
        "version": alias.number,
        "digest": alias.digest,
        "protected": alias.protected,
        "gates": [gate.model_dump() for gate in alias.gates],
    }


def move(made: Move) -> dict[str, Any]:
    """One entry of an alias's history."""
    return {
        "version": made.number,
        "digest": made.digest,
        "reason": made.reason,
        "overridden": made.overridden,
        "created": int(made.created.timestamp()),
    }
