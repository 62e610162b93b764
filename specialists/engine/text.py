"""Between text and tokens: chat templates, prompts, and answers as they are made."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tokenizers import Tokenizer as Backend

from specialists.engine.calls import CallFormat, Tool
from specialists.engine.chat_template import ChatMessage, ChatTemplate
from specialists.engine.control import FENCE, ControlTokens
from specialists.engine.detokenizer import BytesDetokenizer, Detokenizer, PiecesDetokenizer
from specialists.engine.text_stream import TextStream
from specialists.engine.thought_budget import ThoughtBudget
from specialists.engine.thoughts import MARKS, NONE, Thoughts, just_opened
from specialists.errors import ContextOverflow, InvalidPrompt
from specialists.generation_config import end_tokens

PLAIN_CHARACTERS = 8
"""Texts of up to so many characters per token of the context are tokenised without a look first."""
PIECE = 32 * 1024
CUT_TOKENS = 64
SHOWN = 1 << 16
"""Tokens whose texts are remembered."""
_BYTE_PIECE = re.compile("<0x([0-9A-F]{2})>")
_SPACE_PIECE = "▁"
GENERIC = ("PreTrainedTokenizerFast", "TokenizersBackend")
NO_THOUGHTS = "enable_thinking"
"""The variable by which templates are told, false, that nothing is to be thought."""
MARK_TOKENS = 16
"""That a mark and the white space after it take, at most."""
NO_VARIABLES: Mapping[str, Any] = MappingProxyType({})


class Tokenizer:
    """A base's tokenizer and chat template."""

    def __init__(self, tokenizer: Any, eos: frozenset[int]) -> None:
        self._tokenizer = tokenizer
        self._backend: Backend = tokenizer.backend_tokenizer
        self._control = ControlTokens(self._backend)
        self._template = ChatTemplate(tokenizer, self._control)
        self._bytes = _byte_alphabet()
        # Tokens are bytes in an alphabet of GPT-2's, or pieces of text as SentencePiece has them.
        self._byte_level = b"ByteLevel" in self._backend.decoder.__getstate__()
        added = self._backend.get_added_tokens_decoder()
        self._added = frozenset(each.content for each in added.values())
        self._unshown = frozenset(
            token for token, each in added.items() if each.special and each.content not in MARKS
        )
        self._shown = lru_cache(SHOWN)(self._text_of)
        self.eos = eos

    @classmethod
    def from_folder(cls, folder: Path) -> "Tokenizer":
        """Read tokenizer, template and end-of-text tokens from a folder in transformers' layout."""
        tokenizer = _read(folder)
        return cls(tokenizer, frozenset({tokenizer.eos_token_id, *end_tokens(folder)} - {None}))

    def prepare(self) -> None:
        """Make now what the first message that spells a control token would make others wait for.

        With Llama 3's vocabulary that is a second, and no other Python code runs for half of it.
        """
        self._control.encode(FENCE)

    @property
    def state(self) -> str:
        """The tokenizer in the JSON of the library tokenizers."""
        return self._backend.to_str()

    def encode(self, text: str, *, bare: bool = False) -> list[int]:
        """Tokens of a raw prompt, which may spell control tokens; bare, or with those around it."""
        return list(self._tokenizer(text, add_special_tokens=not bare)["input_ids"])

    def encode_answer(self, text: str, most: int) -> list[int]:
        """The first tokens of a text as an answer has them, `most` at most."""
        return self.encode(text[: most * PLAIN_CHARACTERS], bare=True)[:most]

    def encode_chat(
        self,
        messages: Sequence[ChatMessage],
        *,
        tools: Sequence[Tool] = (),
        answer: bool = True,
        continued: bool = False,
        variables: Mapping[str, Any] = NO_VARIABLES,
        thinks: bool = True,
    ) -> list[int]:
        """Tokens of a chat; see `render_chat`, also for what is raised.

        With `thinks` false whoever answers is told not to think first, as far as the template can
        tell, and finds thoughts closed that it has opened.
        """
        at_once = self.thinks and not thinks
        if at_once:
            variables = {NO_THOUGHTS: False, **variables}
        text = self.render_chat(
            messages, tools=tools, answer=answer, continued=continued, variables=variables
        )
        closed = at_once and not continued and just_opened(text)
        return [*self.encode_part(text), *(self.encode_part(NONE) if closed else ())]

    def encode_part(self, text: str) -> list[int]:
        """Tokens of a part of a chat as `render_chat` gave it: nothing is put around it."""
        tokens = self._control.encode(text)
        if tokens is not None:
            return tokens
        return self.encode(text, bare=True)

    def render_chat(
        self,
        messages: Sequence[ChatMessage],
        *,
        tools: Sequence[Tool] = (),
        answer: bool = True,
        continued: bool = False,
        variables: Mapping[str, Any] = NO_VARIABLES,
    ) -> str:
        """A chat as the base's template writes it; with `answer`, up to where it is to speak.

        With `continued` the last message is left open, so that it is what is gone on with. Of the
        `variables`, such as `enable_thinking`, those that the template has not change nothing.

        What people wrote is text: where it spells a control token it is masked, for `encode_part`.

        Raises:
            InvalidPrompt: the base's template takes no such chat.
            InvalidSampling: a variable is none that a request may set.
        """
        return self._template.render(
            messages, tools, answer=answer, continued=continued, variables=variables
        )

    def said(self, message: ChatMessage) -> str:
        """An answer as the base writes it, its calls included."""
        return self._template.said(message)

    def thoughts_after(self, prompt: Sequence[int]) -> Thoughts | None:
        """The thoughts that may follow a chat's prompt; None where the base marks none."""
        if not self.thinks:
            return None
        end = b"".join(self.token_text(token)[1] for token in prompt[-MARK_TOKENS:])
        return Thoughts(just_opened(end.decode(errors="replace")), self._added.issuperset(MARKS))

    def apart(self, message: ChatMessage) -> tuple[str, str]:
        """An assistant's thoughts, and its text; of a base that marks none all is text."""
        return self._template.apart(message)

    def budget(self, thoughts: Thoughts | None, text: TextStream) -> ThoughtBudget | None:
        """What closes an answer's thoughts when they are too long; None where they may be so."""
        if thoughts is None or thoughts.most is None:
            return None
        return ThoughtBudget(thoughts.most, self.encode_part(NONE), text)

    def answered(self, asked: str, whole: str, answer: ChatMessage) -> list[str]:
        """What was added to a rendered chat when it was answered; see `ChatTemplate.answered`."""
        return self._template.answered(asked, whole, answer)

    @property
    def thinks(self) -> bool:
        """Whether the base marks what it thinks before it answers."""
        return self._template.thinks

    @property
    def calls(self) -> CallFormat:
        """How the base writes calls of tools."""
        return self._template.calls

    def require_room(self, texts: Iterable[str], limit: int) -> None:
        """Refuse texts that are far too long for a context of `limit` tokens, and read no further.

        Raises:
            ContextOverflow: they have more tokens, by a count that may be too small, never too
                large.
        """
        text = "".join(texts)
        if len(text) <= limit * PLAIN_CHARACTERS:
            return
        counted = 0
        for start in range(0, len(text), PIECE):
            piece = self._backend.encode(text[start : start + PIECE], add_special_tokens=False)
            # A cut may have made more of one word than there was.
            counted += max(len(piece.ids) - CUT_TOKENS, 0)
            if counted > limit:
                raise ContextOverflow(counted, limit)

    def decode(self, tokens: list[int], *, special: bool = False) -> str:
        """Text of tokens, with or without special ones."""
        return str(self._tokenizer.decode(tokens, skip_special_tokens=not special))

    def pieces(self, tokens: Sequence[int]) -> list[str]:
        """What tokens are called in the vocabulary.

        Raises:
            InvalidPrompt: one is in none.
        """
        return [self._piece(token) for token in tokens]

    def _piece(self, token: int) -> str:
        piece = self._backend.id_to_token(token)
        if piece is None:
            raise InvalidPrompt(f"no token has the id {token}")
        return str(piece)

    def token_text(self, token: int) -> tuple[str, bytes]:
        """A token as it is shown on its own, and its exact bytes."""
        return self._shown(token)

    def _text_of(self, token: int) -> tuple[str, bytes]:
        raw = self._raw(self._backend.id_to_token(token) or "")
        return raw.decode(errors="replace"), raw

    def _raw(self, piece: str) -> bytes:
        if not self._byte_level:
            byte = _BYTE_PIECE.fullmatch(piece)
            return bytes([int(byte[1], 16)]) if byte else piece.replace(_SPACE_PIECE, " ").encode()
        if all(character in self._bytes for character in piece):
            return bytes(self._bytes[character] for character in piece)
        return piece.encode()

    def stream(self, stop: tuple[str, ...], thoughts: Thoughts | None = None) -> TextStream:
        """A fresh text stream for one answer, which thoughts may come before."""
        reader = None if thoughts is None else thoughts.reader()
        return TextStream(self._detokenizer(), stop, reader)

    def _detokenizer(self) -> Detokenizer:
        if self._byte_level:
            return BytesDetokenizer(self._bytes_of)
        decode = partial(self._backend.decode, skip_special_tokens=False)
        return PiecesDetokenizer(decode, self._unshown)

    def _bytes_of(self, token: int) -> bytes:
        """What a token adds to an answer's text."""
        return b"" if token in self._unshown else self._shown(token)[1]


def _read(folder: Path) -> Any:
    """A tokenizer of transformers; one without a class of its own needs far fewer imports."""
    settings = json.loads((folder / "tokenizer_config.json").read_bytes())
    if settings.get("tokenizer_class") in GENERIC and (folder / "tokenizer.json").is_file():
        from transformers import PreTrainedTokenizerFast

        return PreTrainedTokenizerFast.from_pretrained(folder)
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


def _byte_alphabet() -> dict[str, int]:
    """Characters that byte-level BPE writes for bytes (GPT-2's encoder, Radford et al. 2019)."""
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in shown]
    alphabet = {chr(byte): byte for byte in shown}
    return alphabet | {chr(256 + place): byte for place, byte in enumerate(hidden)}
