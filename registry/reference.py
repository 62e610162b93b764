"""References: how people name a specialist, `owner/name`, with an alias or a digest if need be."""

import re
from dataclasses import dataclass

from registry.errors import InvalidReference

NAME = r"[a-z0-9][a-z0-9._-]{0,63}"
DIGEST = r"sha256:[0-9a-f]{64}"
_REFERENCE = re.compile(
    rf"(?P<owner>{NAME})/(?P<name>{NAME})(?::(?P<alias>{NAME})|@(?P<digest>{DIGEST}))?"
)
_RULE = "each part starts with a-z or 0-9, goes on with a-z, 0-9, '.', '_', '-', and has at most 64"


@dataclass(frozen=True, slots=True)
class Reference:
    """A specialist, or one of its versions by alias or by digest (never by both)."""

    owner: str
    name: str
    alias: str | None = None
    digest: str | None = None

    @property
    def id(self) -> str:
        """The specialist alone: `owner/name`."""
        return f"{self.owner}/{self.name}"

    def __str__(self) -> str:
        if self.alias is not None:
            return f"{self.id}:{self.alias}"
        return f"{self.id}@{self.digest}" if self.digest is not None else self.id


def parse_reference(text: str) -> Reference:
    """Read `owner/name`, `owner/name:alias` or `owner/name@sha256:…`.

    Raises:
        InvalidReference: the text has none of these forms.
    """
    match = _REFERENCE.fullmatch(text)
    if match is None:
        raise InvalidReference(
            f"{_shown(text)} is not a reference. Write owner/name, owner/name:alias or "
            f"owner/name@sha256:<64 hex digits>; {_RULE}."
        )
    return Reference(**match.groupdict())


def parse_id(text: str) -> Reference:
    """Read plain `owner/name`.

    Raises:
        InvalidReference: the text has another form, or carries an alias or a digest.
    """
    match = _REFERENCE.fullmatch(text)
    if match is None or match["alias"] or match["digest"]:
        raise InvalidReference(f"{_shown(text)} is not an id. Write owner/name; {_RULE}.", "id")
    return Reference(match["owner"], match["name"])


def _shown(text: str) -> str:
    """The text as a short, printable literal: it may be anything at all."""
    return ascii(text if len(text) <= 160 else text[:160] + "...")
