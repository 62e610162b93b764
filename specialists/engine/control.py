"""Control tokens belong to the chat template: what people wrote never becomes one.

A chat is rendered as one text before it is tokenised, and in that text a `<|im_end|>` that a user
typed looks like the template's own. So what spells a control token in a message is masked before
the template runs. A text with masks is read by a second tokenizer: the same one, except that its
control tokens go by aliases that nobody can write, and the template's are replaced by these.
"""

import json
import re
import secrets
from collections.abc import Callable, Iterable
from typing import Any, cast

from tokenizers import AddedToken
from tokenizers import Tokenizer as Backend

FENCE = "\ue0f0"
"""From Unicode's private use area: no normaliser and no template touches it."""
MANNERS = ("single_word", "lstrip", "rstrip", "normalized", "special")


class ControlTokens:
    """Keeps apart the control tokens that a template writes and those that people spell."""

    def __init__(self, backend: Backend) -> None:
        added: list[dict[str, Any]] = json.loads(backend.to_str())["added_tokens"]
        self._tokens = {each["content"]: each for each in added if each["special"]}
        nonce = secrets.token_hex(8)
        self._masks = {text: f"{FENCE}{nonce}m{at}{FENCE}" for at, text in enumerate(self._tokens)}
        self._aliases = {
            text: f"{FENCE}{nonce}a{at}{FENCE}" for at, text in enumerate(self._tokens)
        }
        self._spelt = _any_of(self._tokens)
        self._masked = _any_of(self._masks.values())
        self._backend = backend
        self._aliased: tuple[Backend, dict[int, int]] | None = None

    def mask(self, text: str) -> str:
        """What somebody wrote, with everything masked that spells a control token."""
        return self._spelt(lambda found: self._masks[found[0]], text)

    def before(self, text: str) -> str:
        """A text up to its first control token."""
        return self._spelt(lambda _: FENCE, text).split(FENCE, 1)[0]

    def encode(self, text: str) -> list[int] | None:
        """Tokens of a rendered text that may have masks in it; None for one that has none."""
        if FENCE not in text:
            return None
        backend, ids = self._aliased = self._aliased or self._alias()
        written = {mask: spelt for spelt, mask in self._masks.items()}
        templated = self._spelt(lambda found: self._aliases[found[0]], text)
        plain = self._masked(lambda found: written[found[0]], templated)
        tokens = backend.encode(plain, add_special_tokens=False).ids
        return [ids.get(token, token) for token in tokens]

    def _alias(self) -> tuple[Backend, dict[int, int]]:
        """The tokenizer whose control tokens go by aliases, and what its added tokens' ids mean."""
        state = json.loads(self._backend.to_str())
        added, state["added_tokens"] = state["added_tokens"], []
        # Out of the vocabulary too, where a whole word that spells one would find it.
        _rename(state["model"], self._aliases)
        backend = Backend.from_str(json.dumps(state))
        ids: dict[int, int] = {}
        for token in added:
            name = self._aliases.get(token["content"], token["content"])
            add = backend.add_special_tokens if token["special"] else backend.add_tokens
            add([AddedToken(name, **{manner: token[manner] for manner in MANNERS})])
            ids[cast(int, backend.token_to_id(name))] = token["id"]
        return backend, ids


def _rename(model: dict[str, Any], names: dict[str, str]) -> None:
    """Rename pieces of a model's vocabulary, which keep their ids."""
    vocabulary = model["vocab"]
    if isinstance(vocabulary, dict):
        model["vocab"] = {names.get(piece, piece): at for piece, at in vocabulary.items()}
    else:
        model["vocab"] = [[names.get(piece, piece), score] for piece, score in vocabulary]
    if model.get("unk_token") in names:
        model["unk_token"] = names[model["unk_token"]]


def _any_of(texts: Iterable[str]) -> Callable[[Callable[[re.Match[str]], str], str], str]:
    """A substitution of any of the texts, the longest first."""
    longest_first = sorted(texts, key=len, reverse=True)
    # No text at all matches nowhere.
    return re.compile("|".join(map(re.escape, longest_first)) or "(?!)").sub
