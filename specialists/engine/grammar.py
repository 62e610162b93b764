"""What an answer must look like: a JSON schema or a grammar, held token by token.

The grammar is llguidance's: at each step it says which tokens may come next, so that whatever is
drawn the answer stays one that the schema takes. https://github.com/guidance-ai/llguidance
"""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Generic, Literal, TypeVar

import numpy as np
from llguidance import LLMatcher, LLTokenizer
from numpy.typing import NDArray

from specialists.engine.compiling import Trial, Vocabulary, compiled
from specialists.engine.lark import json_rule, matching, one_of
from specialists.engine.thoughts import Thoughts
from specialists.errors import InvalidSampling

K = TypeVar("K")
V = TypeVar("V")

Language = Literal["regex", "choice", "grammar"]

RESPONSE_FORMAT, STRUCTURED_OUTPUTS = "response_format", "structured_outputs"
MAX_CHARACTERS = 64 * 1024
KEPT = 64
"""Compiled grammars that are kept, the last used ones."""
REMEMBERED = 4096
"""Texts of which is known whether they can be compiled, by digest."""
SHOWN = 300


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

    def forced(self) -> list[int]:
        """The tokens, as its tokenizer writes them, of text that must come next; often none."""
        tokens: list[int] = self._matcher.compute_ff_tokens()
        return tokens

    def fitting(self, tokens: list[int]) -> int:
        """How many of these, the first ones, may come next, one after the other."""
        return int(self._matcher.validate_tokens(tokens))

    def accept(self, token: int) -> None:
        """Go on by a token that was allowed.

        Raises:
            InvalidSampling: the grammar became too complex to be held on to.
        """
        self._matcher.consume_token(token)
        if self._matcher.is_error():
            raise InvalidSampling(self._matcher.get_error().strip()[:SHOWN], self._param)


class Latest(Generic[K, V]):
    """What was made of the keys that were asked for last. Thread-safe."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: OrderedDict[K, V] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """How many are kept."""
        return len(self._values)

    def __contains__(self, key: K) -> bool:
        """Whether it is known what was made of a key."""
        return key in self._values

    def get(self, key: K, make: Callable[[], V]) -> V:
        """What was made of a key; it is made where that is not known, beside others."""
        with self._lock:
            found = [self._values[key]] if key in self._values else []
        [made] = found or [make()]
        with self._lock:
            self._values[key] = made
            self._values.move_to_end(key)
            if len(self._values) > self._most:
                self._values.popitem(last=False)
        return made


class Grammars:
    """Compiles grammars, and keeps the last ones. Thread-safe."""

    def __init__(self, tokenizer: str, end: Iterable[int], vocabulary: int) -> None:
        """Compile for a tokenizer, which is read at the first need.

        Args:
            tokenizer: in the JSON of the library tokenizers.
            end: tokens that end an answer.
            vocabulary: width of the logits.
        """
        self._vocabulary = Vocabulary(tokenizer, sorted(end), vocabulary)
        self._trial = Trial(self._vocabulary)
        self._made: LLTokenizer | None = None
        self._kept: Latest[tuple[str, str], LLMatcher] = Latest(KEPT)
        self._lark: Latest[str, str] = Latest(KEPT)
        # Why each was refused; None for those that were not.
        self._tried: Latest[bytes, str | None] = Latest(REMEMBERED)

    def of_schema(
        self, schema: str, param: str = RESPONSE_FORMAT, thoughts: Thoughts | None = None
    ) -> Grammar:
        """The grammar of a JSON schema, at its beginning; may take seconds.

        Args:
            schema: as text.
            param: what the client calls it.
            thoughts: what may come before it; None is nothing.

        Raises:
            InvalidSampling: it is no schema, asks for what cannot be held, or is too large.
        """
        if thoughts is not None:
            self._require_sound("schema", schema, param)
            return self.of_lark(f"start: {json_rule(schema)}", param, thoughts)
        matcher = self._matcher("schema", schema, param)
        return self._grammar(f"start: {json_rule(schema)}", matcher, param)

    def check(self, schema: str, param: str) -> None:
        """Refuse a schema that `of_schema` would refuse; what was found is remembered."""
        self._require_sound("schema", schema, param)

    def of_lark(self, rules: str, param: str, thoughts: Thoughts | None = None) -> Grammar:
        """The grammar of rules in llguidance's Lark; else like `of_schema`."""
        whole = _whole(rules, thoughts)
        return self._grammar(whole, self._matcher("lark", whole, param), param)

    def of_rules(
        self, language: Language, text: str, param: str, thoughts: Thoughts | None = None
    ) -> Grammar:
        """The grammar of a regular expression, of choices, or of rules; else like `of_schema`."""
        _require_short(text, param)
        match language:
            case "regex":
                rules = matching(text)
            case "choice":
                rules = one_of(text)
            case "grammar":
                rules = self._as_lark(text, param)
        whole = _whole(rules, thoughts)
        return self._grammar(whole, self._matcher("rules", whole, param), param)

    def _grammar(self, rules: str, matcher: LLMatcher, param: str) -> Grammar:
        return Grammar(rules, matcher, self._vocabulary.width, param)

    def _as_lark(self, grammar: str, param: str) -> str:
        try:
            return self._lark.get(grammar, lambda: self._trial.lark(grammar))
        except ValueError as error:
            raise InvalidSampling(str(error)[:SHOWN], param) from error

    def _matcher(self, language: str, text: str, param: str) -> LLMatcher:
        def made() -> LLMatcher:
            self._require_sound(language, text, param)
            self._made = self._made or self._vocabulary.read()
            return compiled(self._made, language, text)

        return self._kept.get((language, text), made).deep_copy()

    def _require_sound(self, language: str, text: str, param: str) -> None:
        """Refuse what cannot be compiled, which is tried in a process apart."""
        _require_short(text, param)
        digest = hashlib.sha256(f"{language} {text}".encode()).digest()
        refusal = self._tried.get(digest, lambda: self._trial.refusal(language, text))
        if refusal is not None:
            raise InvalidSampling(refusal[:SHOWN], param)


def _whole(rules: str, thoughts: Thoughts | None) -> str:
    return rules if thoughts is None else thoughts.before(rules)


def _require_short(text: str, param: str) -> None:
    if len(text) > MAX_CHARACTERS:
        message = f"it has {len(text):,} characters; at most {MAX_CHARACTERS:,} are taken"
        raise InvalidSampling(message, param)
