"""Specialists in the words of the API."""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field

from registry.card import Evaluation
from registry.version import Alias, Head, Page, Version
from registry.view import Visibility
from router.wire.base import Body


class VisibilityRequest(Body):
    """Who is to find a specialist."""

    visibility: Visibility = Field(
        strict=False, description="`unlisted`: whoever names it; `private`: its owner's keys."
    )


def specialist(version: Version) -> dict[str, Any]:
    """A specialist's version, with all of its card that is not private."""
    return {
        "id": version.id,
        "object": "specialist",
        "version": version.number,
        "digest": version.digest,
        "kind": version.kind,
        "visibility": version.visibility,
        "quarantined": version.quarantined,
        "created": int(version.created.timestamp()),
        **version.card.model_dump(mode="json", exclude={"id", "private_examples"}),
    }


class ScoresRequest(Body):
    """Held-out scores of a version."""

    scores: list[Annotated[Evaluation, Field(strict=False)]] = Field(min_length=1, max_length=64)


def details(
    version: Version, versions: list[Head], aliases: list[Alias], scores: Sequence[Evaluation]
) -> dict[str, Any]:
    """A specialist with its history and aliases."""
    history = [
        {
            "version": head.number,
            "digest": head.digest,
            "kind": head.kind,
            "created": int(head.created.timestamp()),
        }
        for head in versions
    ]
    pointing = {alias.name: alias.number for alias in aliases}
    return specialist(version) | {
        "versions": history,
        "aliases": pointing,
        "evaluation": scored(scores),
    }


def scored(scores: Sequence[Evaluation]) -> list[dict[str, Any]]:
    """Held-out scores."""
    return [score.model_dump(mode="json") for score in scores]


def listed(page: Page) -> dict[str, Any]:
    """A page of a list, without the cards' examples, which may be long."""
    data = [
        {key: value for key, value in specialist(version).items() if key != "examples"}
        for version in page.data
    ]
    return {
        "object": "list",
        "data": data,
        "has_more": page.next_cursor is not None,
        "next_cursor": page.next_cursor,
    }
