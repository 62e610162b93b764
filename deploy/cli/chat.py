"""`myriad chat`: one question, or a conversation."""

import importlib.util
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from deploy.cli.options import AsJson, Url, connect, read_text
from deploy.cli.output import Output, printable, score
from deploy.errors import DeployError

if TYPE_CHECKING:
    from deploy.client import Client

HELP = "/model NAME changes who answers, /reset forgets the conversation, /quit leaves"


def chat(
    text: Annotated[
        str | None,
        typer.Argument(help="The message; - reads standard input. Without it: a conversation."),
    ] = None,
    model: Annotated[
        str, typer.Option(help="Who answers: auto, OWNER/NAME, or the base's name.")
    ] = "auto",
    system: Annotated[str | None, typer.Option(help="Instructions before the message.")] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Longest answer.")] = None,
    temperature: Annotated[
        float | None, typer.Option(min=0, max=2, help="0 always takes the likeliest word.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Makes a drawn answer repeatable.")] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Chat with the specialist that fits, or with the one that you name."""
    output = Output(as_json)
    alone = text is None and sys.stdin.isatty()
    message = None if alone else read_text(text)
    sampling = {"max_tokens": max_tokens, "temperature": temperature, "seed": seed}
    with connect(url) as client:
        conversation = Conversation(client, output, model, system, sampling)
        if message is not None:
            conversation.ask(message)
        else:
            _converse(conversation, output)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, in the order of the chunks."""

    model: str
    routing: dict[str, Any] | None
    text: str
    thoughts: str
    finish_reason: str | None
    usage: dict[str, Any] | None

    @property
    def json(self) -> dict[str, Any]:
        """The answer for programs."""
        thought = {"reasoning_content": self.thoughts} if self.thoughts else {}
        return {
            "model": self.model,
            "content": self.text,
            **thought,
            "finish_reason": self.finish_reason,
            "routing": self.routing,
            "usage": self.usage,
        }


@dataclass
class Conversation:
    """The turns so far, and who is asked next."""

    client: "Client"
    output: Output
    model: str
    system: str | None
    sampling: dict[str, Any]
    turns: list[dict[str, Any]] = field(default_factory=list)

    def ask(self, text: str) -> None:
        """Send a message, show the answer as it comes, and remember both."""
        asked = {"role": "user", "content": text}
        before = [{"role": "system", "content": self.system}] if self.system else []
        answer = self._stream([*before, *self.turns, asked])
        self.turns += [asked, {"role": "assistant", "content": answer.text}]
        if self.output.as_json:
            self.output.json(answer.json)

    def _stream(self, messages: list[dict[str, Any]]) -> Answer:
        model = text = thoughts = ""
        routing = reason = usage = None
        for chunk in self.client.chat(messages, self.model, **self.sampling):
            model = model or chunk.get("model") or ""
            if routing is None and chunk.get("routing"):
                routing = chunk["routing"]
                self._say_who(routing, model)
            for choice in chunk.get("choices", ()):
                delta = choice.get("delta", {})
                thought, piece = (delta.get(of) or "" for of in ("reasoning_content", "content"))
                thoughts, text = thoughts + thought, text + piece
                reason = choice.get("finish_reason") or reason
                # The first words of an answer end what was thought before it.
                self._think(thought + ("\n\n" if thoughts and piece and piece == text else ""))
                self._write(piece)
            usage = chunk.get("usage") or usage
        self._write("\n")
        return Answer(model, routing, text, thoughts, reason, usage)

    def _say_who(self, routing: dict[str, Any], model: str) -> None:
        who = routing.get("specialist") or f"the base ({model})"
        parts = (who, score(routing.get("score")), routing.get("reason"))
        if not self.output.as_json:
            self.output.note(" · ".join(str(part) for part in parts if part))

    def _think(self, thought: str) -> None:
        """Show what is thought, which is no result."""
        if thought and not self.output.as_json:
            self.output.notes.out(printable(thought), end="", style="dim", highlight=False)

    def _write(self, piece: str) -> None:
        if not self.output.as_json:
            self.output.results.out(printable(piece), end="", highlight=False)
            self.output.results.file.flush()


def _converse(conversation: Conversation, output: Output) -> None:
    if importlib.util.find_spec("readline") is not None:
        importlib.import_module("readline")  # makes `input` a line editor
    output.note(HELP)
    _greet(conversation, output)
    while True:
        try:
            line = input("" if output.as_json else "> ").strip()
        except EOFError:
            return
        if line == "/quit":
            return
        if line.startswith("/"):
            output.note(_change(conversation, line))
        elif line:
            _ask(conversation, output, line)


def _greet(conversation: Conversation, output: Output) -> None:
    """Say what the specialist says before anybody asks, if it has a persona."""
    if "/" not in conversation.model or output.as_json:
        return
    name = conversation.model.partition("@")[0].partition(":")[0]
    with suppress(DeployError):
        persona = conversation.client.specialist(name).get("persona") or {}
        for said in ("greeting", "disclosure"):
            if persona.get(said):
                output.show({}, Text(printable(persona[said])))


def _change(conversation: Conversation, line: str) -> str:
    """Obey a line that starts with a slash; returns what to say to it."""
    match line.split():
        case ["/reset"]:
            conversation.turns.clear()
            return "forgotten"
        case ["/model", model]:
            conversation.model = model
            return f"{model} answers from now on"
    return HELP


def _ask(conversation: Conversation, output: Output, line: str) -> None:
    """One turn; what goes wrong ends the turn, not the conversation."""
    try:
        conversation.ask(line)
    except DeployError as error:
        output.error(str(error))
    except KeyboardInterrupt:
        output.note("\nstopped")
