"""Between text and tokens: chat templates, incremental detokenisation, stop texts."""

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer as Backend
from tokenizers.decoders import DecodeStream

from specialists.engine.calls import CallFormat, Tool
from specialists.engine.chat_template import ChatMessage, ChatTemplate
from specialists.engine.control import ControlTokens
from specialists.errors import ContextOverflow
from specialists.generation_config import end_tokens

PLAIN_CHARACTERS = 8
"""Texts of up to so many characters per token of the context are tokenised without a look first."""
PIECE = 32 * 1024
CUT_TOKENS = 64
_BYTE_PIECE = re.compile("<0x([0-9A-F]{2})>")
_SPACE_PIECE = "▁"
GENERIC = ("PreTrainedTokenizerFast", "TokenizersBackend")


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
        self.eos = eos

    @classmethod
    def from_folder(cls, folder: Path) -> "Tokenizer":
        """Read tokenizer, template and end-of-text tokens from a folder in transformers' layout."""
        tokenizer = _read(folder)
        return cls(tokenizer, frozenset({tokenizer.eos_token_id, *end_tokens(folder)} - {None}))

    @property
    def state(self) -> str:
        """The tokenizer in the JSON of the library tokenizers."""
        return self._backend.to_str()

    def encode(self, text: str) -> list[int]:
        """Tokens of a raw prompt, which may spell control tokens, with those put around it."""
        return list(self._tokenizer(text)["input_ids"])

    def encode_chat(
        self,
        messages: Sequence[ChatMessage],
        *,
        tools: Sequence[Tool] = (),
        answer: bool = True,
        continued: bool = False,
    ) -> list[int]:
        """Tokens of a chat; see `render_chat`.

        Raises:
            InvalidPrompt: the base's template takes no such chat.
        """
        return self.encode_part(
            self.render_chat(messages, tools=tools, answer=answer, continued=continued)
        )

    def encode_part(self, text: str) -> list[int]:
        """Tokens of a part of a chat as `render_chat` gave it: nothing is put around it."""
        tokens = self._control.encode(text)
        if tokens is not None:
            return tokens
        return list(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def render_chat(
        self,
        messages: Sequence[ChatMessage],
        *,
        tools: Sequence[Tool] = (),
        answer: bool = True,
        continued: bool = False,
    ) -> str:
        """A chat as the base's template writes it; with `answer`, up to where it is to speak.

        With `continued` the last message is left open, so that it is what is gone on with.

        What people wrote is text: where it spells a control token it is masked, for `encode_part`.

        Raises:
            InvalidPrompt: the base's template takes no such chat.
        """
        return self._template.render(messages, tools, answer=answer, continued=continued)

    def said(self, message: ChatMessage) -> str:
        """An answer as the base writes it, its calls included."""
        return self._template.said(message)

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

    def decode(self, tokens: list[int]) -> str:
        """Text of tokens, without special ones."""
        return str(self._tokenizer.decode(tokens, skip_special_tokens=True))

    def token_text(self, token: int) -> tuple[str, bytes]:
        """A token as it is shown on its own, and its exact bytes."""
        piece = self._backend.id_to_token(token) or ""
        raw = self._raw(piece)
        return raw.decode(errors="replace"), raw

    def _raw(self, piece: str) -> bytes:
        if not self._byte_level:
            byte = _BYTE_PIECE.fullmatch(piece)
            return bytes([int(byte[1], 16)]) if byte else piece.replace(_SPACE_PIECE, " ").encode()
        if all(character in self._bytes for character in piece):
            return bytes(self._bytes[character] for character in piece)
        return piece.encode()

    def stream(self, stop: tuple[str, ...]) -> "TextStream":
        """A fresh text stream for one answer."""
        return TextStream(self._backend, stop)


class TextStream:
    """Turns an answer's tokens into text that can be shown, and finds its stop texts."""

    def __init__(self, backend: Backend, stop: tuple[str, ...]) -> None:
        self._backend = backend
        self._decoder: DecodeStream | None = DecodeStream(skip_special_tokens=True)
        self._tokens: list[int] = []
        self._stop = stop
        self._sent = 0
        self._held = ""
        self.stopped = False

    def push(self, token: int) -> str:
        """Text that became certain with this token; sets `stopped` when a stop text appeared."""
        self._tokens.append(token)
        piece = self._decoded(token)
        self._sent += len(piece)
        self._held += piece
        cut = _first_stop(self._held, self._stop)
        if cut is not None:
            self.stopped = True
            return self._release(cut, drop_rest=True)
        return self._release(len(self._held) - _undecided(self._held, self._stop))

    def flush(self) -> str:
        """What was held back, once the answer has ended; sets `stopped` for a stop text in it."""
        whole = self._backend.decode(self._tokens, skip_special_tokens=True)
        self._held += whole[self._sent :]
        cut = _first_stop(self._held, self._stop)
        self.stopped = cut is not None
        return self._release(len(self._held) if cut is None else cut, drop_rest=True)

    def _decoded(self, token: int) -> str:
        """Text that the newest token completes."""
        if self._decoder is not None:
            try:
                return self._decoder.step(self._backend, token) or ""
            except Exception:
                # Bytes that are no text change what stood before them; the stream gives up then.
                self._decoder = None
        whole = self._backend.decode(self._tokens, skip_special_tokens=True)
        return "" if whole.endswith("\ufffd") else whole[self._sent :]

    def _release(self, length: int, *, drop_rest: bool = False) -> str:
        text, rest = self._held[:length], self._held[length:]
        self._held = "" if drop_rest else rest
        return text


def _read(folder: Path) -> Any:
    """A tokenizer of transformers; one without a class of its own needs far fewer imports."""
    settings = json.loads((folder / "tokenizer_config.json").read_bytes())
    if settings.get("tokenizer_class") in GENERIC and (folder / "tokenizer.json").is_file():
        from transformers import PreTrainedTokenizerFast

        return PreTrainedTokenizerFast.from_pretrained(folder)
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


def _first_stop(text: str, stop: tuple[str, ...]) -> int | None:
    """Where the stop text that is complete first begins; it does not matter how tokens cut it."""
    found = [(at + len(word), at) for word in stop if (at := text.find(word)) >= 0]
    return min(found)[1] if found else None


def _undecided(text: str, stop: tuple[str, ...]) -> int:
    """Length of the longest end of `text` that a stop text could begin with."""
    longest = max((len(word) for word in stop), default=0)
    for length in range(min(longest - 1, len(text)), 0, -1):
        if any(word.startswith(text[-length:]) for word in stop):
            return length
    return 0


def _byte_alphabet() -> dict[str, int]:
    """Characters that byte-level BPE writes for bytes (GPT-2's encoder, Radford et al. 2019)."""
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in shown]
    alphabet = {chr(byte): byte for byte in shown}
    return alphabet | {chr(256 + place): byte for place, byte in enumerate(hidden)}
