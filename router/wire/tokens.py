"""The request bodies of `POST /tokenize` and `POST /detokenize`."""

from dataclasses import replace

from pydantic import Field

from router.engine import Generation
from router.sampling import Sampling
from router.wire.base import Body, ModelName, refused
from router.wire.chat import ChatRequest, Messages
from router.wire.completion import Ids


class TokenizeRequest(ChatRequest):
    """A text, or else a conversation as it is sent to be answered."""

    model: ModelName = "auto"
    prompt: str | None = None
    messages: Messages = Field(default_factory=list)
    add_special_tokens: bool = Field(
        True, description="Whether a text has those around it that a prompt has."
    )
    return_token_strs: bool = Field(False, description="Whether tokens are shown, too.")

    def _check_ending(self) -> None:
        if (self.prompt is None) == (not self.messages):
            message = "is what is read, unless there are 'messages'; send one of the two"
            raise refused("invalid_value", "prompt", message)
        if self.messages:
            super()._check_ending()

    def generation(self, request_id: str, adapter: str | None, sampling: Sampling) -> Generation:
        """What is asked of the engine."""
        asked = super().generation(request_id, adapter, sampling)
        if self.prompt is None:
            return asked
        return replace(asked, prompt=self.prompt, bare=not self.add_special_tokens)


class DetokenizeRequest(Body):
    """Tokens whose text is wanted."""

    model: ModelName = "auto"
    tokens: Ids

    def generation(self, request_id: str, adapter: str | None, _: Sampling) -> Generation:
        """What is asked of the engine."""
        return Generation(request_id, adapter, tuple(self.tokens))
