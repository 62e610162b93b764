"""References: `owner/name`, with an alias, a version's number or its digest if need be."""

import re
from dataclasses import dataclass

from registry.errors import InvalidReference

LATEST = "latest"
"""Stands for a specialist's newest version; no alias may have this name."""
NAME = r"[a-z0-9][a-z0-9._-]{0,63}"
DIGEST = r"sha256:[0-9a-f]{64}"
_REFERENCE = re.compile(
    rf"(?P<owner>{NAME})/(?P<name>{NAME})"
    rf"(?::(?P<alias>{NAME})|@(?:(?P<digest>{DIGEST})|(?P<number>[1-9][0-9]{{0,8}})))?"
)
_LONGEST = 160
_RULE = "each part starts with a-z or 0-9, goes on with a-z, 0-9, '.', '_', '-', and has at most 64"


@dataclass(frozen=True, slots=True)
class Reference:
    """A specialist, or one of its versions by alias, by number or by digest."""

    owner: str
    name: str
    alias: str | None = None
    digest: str | None = None
    number: int | None = None

    @property
    def id(self) -> str:
        """The specialist alone: `owner/name`."""
        return f"{self.owner}/{self.name}"

    def __str__(self) -> str:
        if self.alias is not None:
            return f"{self.id}:{self.alias}"
        version = self.digest or self.number
        return self.id if version is None else f"{self.id}@{version}"


def parse_reference(text: str) -> Reference:
    """Read `owner/name`, `owner/name:alias`, `owner/name@2` or `owner/name@sha256:…`.

    Raises:
        InvalidReference: the text has none of these forms.
    """
    match = _REFERENCE.fullmatch(text)
    if match is None:
        raise InvalidReference(
            f"{_shown(text)} is not a reference. Write owner/name, owner/name:alias, "
            f"owner/name@2 or owner/name@sha256:<64 hex digits>; {_RULE}."
        )
    number = match["number"]
    return Reference(
        match["owner"],
        match["name"],
        match["alias"],
        match["digest"],
        None if number is None else int(number),
    )


def parse_id(text: str) -> Reference:
    """Read plain `owner/name`.

    Raises:
        InvalidReference: the text has another form, or carries an alias or a digest.
    """
    match = _REFERENCE.fullmatch(text)
    if match is None or any(match.group("alias", "digest", "number")):
        raise InvalidReference(f"{_shown(text)} is not an id. Write owner/name; {_RULE}.", "id")
    return Reference(match["owner"], match["name"])


def require_alias(specialist: str, alias: str) -> None:
    """Let a text pass that may point to versions of the specialist `owner/name`.

    Raises:
        InvalidReference: it cannot be an alias.
    """
    parse_reference(f"{specialist}:{alias}")
    if alias == LATEST:
        raise InvalidReference(f"'{LATEST}' is the newest version; choose another alias.", "alias")


def like_a_reference(text: str) -> Reference:
    """Whom a text of any form may have meant, to look for names near to it; it may be nobody."""
    plain = text[:_LONGEST].strip().lower().replace("@", ":").partition(":")[0]
    owner, _, name = plain.partition("/")
    return Reference(owner, name)


def _shown(text: str) -> str:
    """The text as a short, printable literal: it may be anything at all."""
    return ascii(text if len(text) <= _LONGEST else text[:_LONGEST] + "...")
