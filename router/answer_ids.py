"""Ids of answers: they say which version gave one, and nobody else can make them up."""

import hashlib
import hmac
import re
import secrets

_NONCE, _DIGEST, _MARK = 8, 16, 8
_FORM = re.compile(
    r"(?P<prefix>[a-z]+)-(?P<nonce>[0-9a-f]{16})(?P<digest>[0-9a-f]{32})(?P<mark>[0-9a-f]{16})"
)


class AnswerIds:
    """Makes ids with a secret, and reads them again, on any replica that has the same one."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def make(self, prefix: str, digest: str | None) -> str:
        """A fresh id such as `chatcmpl-…`, of an answer of a version, or of the base (None)."""
        nonce = secrets.token_hex(_NONCE)
        if digest is None:
            return f"{prefix}-{nonce}{secrets.token_hex(_DIGEST + _MARK)}"
        content = nonce + digest.removeprefix("sha256:")[: 2 * _DIGEST]
        return f"{prefix}-{content}{self._mark(content)}"

    def digest_of(self, text: str) -> str | None:
        """The beginning of the digest of the version that gave this answer; None for others."""
        match = _FORM.fullmatch(text)
        if match is None:
            return None
        mark = self._mark(match["nonce"] + match["digest"])
        return f"sha256:{match['digest']}" if hmac.compare_digest(mark, match["mark"]) else None

    def _mark(self, content: str) -> str:
        made = hmac.new(self._secret, content.encode(), hashlib.sha256)
        return made.hexdigest()[: 2 * _MARK]
