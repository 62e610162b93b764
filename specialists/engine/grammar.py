"""What an answer must look like: a JSON schema or a grammar, held token by token.

The grammar is llguidance's: at each step it says which tokens may come next, so that whatever is
drawn the answer stays one that the schema takes. https://github.com/guidance-ai/llguidance
"""

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import numpy as np
from llguidance import LLMatcher, LLTokenizer
from numpy.typing import NDArray

from specialists.errors import InvalidSampling

if TYPE_CHECKING:
    from llguidance._lib import JsonCompileOptions

RESPONSE_FORMAT = "response_format"
MAX_CHARACTERS = 64 * 1024
KEPT = 64
"""Compiled grammars that are kept, the last used ones."""
REMEMBERED = 4096
"""Schemas that are known to be sound, by digest."""
SHOWN = 300
LAYOUT: "JsonCompileOptions" = {
    "whitespace_flexible": False,
    "item_separator": ", ",
    "key_separator": ": ",
}
"""Free white space is what a small base loses itself in."""


def json_rule(schema: str) -> str:
    """JSON of a schema (an object, as text), as a part of a grammar in llguidance's Lark."""
    return f"%json {json.dumps(json.loads(schema) | {'x-guidance': LAYOUT})}"


class Grammar:
    """Where one answer stands in its grammar. Not thread-safe."""

    def __init__(self, rules: str, matcher: LLMatcher, vocabulary: int, param: str) -> None:
        self.rules = rules
        """In llguidance's Lark, for engines that hold answers to them by themselves."""
        self._matcher = matcher
        self._vocabulary = vocabulary
        self._param = param

    def copy(self) -> "Grammar":
        """Another answer at the same place."""
        return Grammar(self.rules, self._matcher.deep_copy(), self._vocabulary, self._param)

    @property
    def ended(self) -> bool:
        """Whether nothing may follow."""
        return bool(self._matcher.is_stopped())

    def allowed(self) -> NDArray[np.bool_]:
        """Which tokens may come next, bool [vocabulary]; all, once `accept` will raise."""
        mask = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        if self._matcher.is_error():
            return np.ones(self._vocabulary, np.bool_)
        bits = np.unpackbits(mask, count=self._vocabulary, bitorder="little")
        return bits.view(np.bool_)

    def accept(self, token: int) -> None:
        """Go on by a token that was allowed.

        Raises:
            InvalidSampling: the grammar became too complex to be held on to.
        """
        self._matcher.consume_token(token)
        _require_sound(self._matcher, self._param)


class Grammars:
    """Compiles grammars, and keeps the last ones. Thread-safe."""

    def __init__(self, tokenizer: str, end: Iterable[int], vocabulary: int) -> None:
        """Compile for a tokenizer, which is read at the first need.

        Args:
            tokenizer: in the JSON of the library tokenizers.
            end: tokens that end an answer.
            vocabulary: width of the logits.
        """
        self._tokenizer = tokenizer
        self._end = sorted(end)
        self._vocabulary = vocabulary
        self._made: LLTokenizer | None = None
        self._kept: OrderedDict[str, LLMatcher] = OrderedDict()
        self._sound: OrderedDict[bytes, None] = OrderedDict()
        self._lock = threading.Lock()

    def of_schema(self, schema: str, param: str = RESPONSE_FORMAT) -> Grammar:
        """The grammar of a JSON schema, at its beginning; may take a second.

        Args:
            schema: as text.
            param: what the client calls it.

        Raises:
            InvalidSampling: it is no schema, asks for what cannot be held, or is too large.
        """
        matcher = self._matcher(_from_schema, schema, param)
        return Grammar(f"start: {json_rule(schema)}", matcher, self._vocabulary, param)

    def check(self, schema: str, param: str) -> None:
        """Refuse a schema that `of_schema` would refuse; those that passed are remembered."""
        _require_short(schema, param)
        digest = hashlib.sha256(schema.encode()).digest()
        with self._lock:
            if digest not in self._sound:
                self._compiled(_from_schema, schema, param)
            self._sound[digest] = None
            self._sound.move_to_end(digest)
            if len(self._sound) > REMEMBERED:
                self._sound.popitem(last=False)

    def of_lark(self, rules: str, param: str) -> Grammar:
        """The grammar of rules in llguidance's Lark; else like `of_schema`."""
        matcher = self._matcher(LLMatcher.grammar_from_lark, rules, param)
        return Grammar(rules, matcher, self._vocabulary, param)

    def _matcher(self, read: Callable[[str], str], source: str, param: str) -> LLMatcher:
        _require_short(source, param)
        with self._lock:
            matcher = self._kept.pop(source, None) or self._compiled(read, source, param)
            self._kept[source] = matcher
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return matcher.deep_copy()

    def _compiled(self, read: Callable[[str], str], source: str, param: str) -> LLMatcher:
        self._made = self._made or LLTokenizer(
            self._tokenizer, n_vocab=self._vocabulary, eos_token=self._end
        )
        try:
            grammar = read(source)
        except ValueError as error:
            raise InvalidSampling(str(error)[:SHOWN], param) from error
        matcher = LLMatcher(self._made, grammar, log_level=0)
        _require_sound(matcher, param)
        return matcher


def _require_short(source: str, param: str) -> None:
    if len(source) > MAX_CHARACTERS:
        raise InvalidSampling(
            f"the schema has {len(source):,} characters; at most {MAX_CHARACTERS:,} are taken",
            param,
        )


def _from_schema(schema: str) -> str:
    return LLMatcher.grammar_from_json_schema(schema, defaults=LAYOUT)


def _require_sound(matcher: LLMatcher, param: str) -> None:
    if matcher.is_error():
        raise InvalidSampling(matcher.get_error().strip()[:SHOWN], param)
