"""Ids of answers: they say which version gave one, or that none did; nobody else makes them up."""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass

_NONCE, _DIGEST, _MARK = 8, 16, 8
_FORM = re.compile(
    r"(?P<prefix>[a-z]+)-(?P<nonce>[0-9a-f]{16})(?P<digest>[0-9a-f]{32})(?P<mark>[0-9a-f]{16})"
)
_NO_VERSION = "0" * (2 * _DIGEST)


@dataclass(frozen=True, slots=True)
class Answered:
    """What an id says: how the digest of the version begins that answered; None is the base."""

    digest: str | None


class AnswerIds:
    """Makes ids with a secret, and reads them again, on any replica that has the same one."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def make(self, prefix: str, digest: str | None) -> str:
        """A fresh id such as `chatcmpl-…`, of an answer of a version, or of the base (None)."""
        version = (digest or _NO_VERSION).removeprefix("sha256:")[: 2 * _DIGEST]
        content = secrets.token_hex(_NONCE) + version
        return f"{prefix}-{content}{self._mark(content)}"

    def read(self, text: str) -> Answered | None:
        """Whose answer has this id; None if none of ours."""
        match = _FORM.fullmatch(text)
        if match is None:
            return None
        mark, digest = self._mark(match["nonce"] + match["digest"]), match["digest"]
        if not hmac.compare_digest(mark, match["mark"]):
            return None
        return Answered(None if digest == _NO_VERSION else f"sha256:{digest}")

    def _mark(self, content: str) -> str:
        made = hmac.new(self._secret, content.encode(), hashlib.sha256)
        return made.hexdigest()[: 2 * _MARK]
