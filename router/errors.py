"""What the router refuses, and as which HTTP answer.

RouterError
├── InvalidRequest            400
│   ├── UnsupportedParameter  400
│   ├── BodyTooLarge          413
│   ├── UnreadableMedia       415
│   └── BodyStalled           408
├── Unauthorized              401
├── Forbidden                 403
├── UnknownModel              404
├── RateLimited               429
├── NotReady                  503
├── ClientGone                499
└── EngineRefused
    ├── ContextOverflow       400
    ├── Overloaded            429
    ├── Unavailable           503
    └── DeadlinePassed        504

Every class survives pickling, since an engine may raise it in another process.
"""

import math
from collections.abc import Sequence

INTERNAL = "Something went wrong in the server; the request's id is in its log."
"""All that anybody is told of what nobody foresaw."""


class RouterError(Exception):
    """A refusal that knows its HTTP status and OpenAI's `type`, `param` and `code`.

    Attributes:
        message: What is wrong and how to mend it.
        param: JSON path of what is at fault, or None.
        retry_after: Seconds after which the same request may succeed, or None.
    """

    status = 500
    type = "server_error"
    code: str | None = None
    retry_after: float | None = None

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code or type(self).code

    def __str__(self) -> str:
        return self.message

    @property
    def headers(self) -> dict[str, str]:
        """Headers of the answer: `Retry-After` in whole seconds, where it applies."""
        if self.retry_after is None:
            return {}
        return {"Retry-After": str(max(1, math.ceil(self.retry_after)))}


class InvalidRequest(RouterError):
    """The request is wrong as it stands; sent again it will be refused again."""

    status = 400
    type = "invalid_request_error"
    code = "invalid_value"


class UnsupportedParameter(InvalidRequest):
    """A known parameter that this server does not serve."""

    code = "unsupported_parameter"


class BodyTooLarge(InvalidRequest):
    """The body is over the `limit` in bytes."""

    status = 413
    code = "body_too_large"

    def __init__(self, limit: int) -> None:
        super().__init__(f"The request body is over the limit of {limit} bytes; send less.")
        self.args = (limit,)


class UnreadableMedia(InvalidRequest):
    """The body is of a type, or in an encoding, that is not read here."""

    status = 415
    code = "unsupported_media_type"


class BodyStalled(InvalidRequest):
    """Nothing of the body came for `seconds`."""

    status = 408
    code = "body_stalled"

    def __init__(self, seconds: float) -> None:
        super().__init__(f"Nothing of the request body came for {seconds:g} s; send it again.")
        self.args = (seconds,)


class Unauthorized(RouterError):
    """Nobody knows who asks."""

    status = 401
    type = "invalid_request_error"
    code = "invalid_api_key"

    @property
    def headers(self) -> dict[str, str]:
        """How to say who one is: https://www.rfc-editor.org/rfc/rfc6750#section-3."""
        return {"WWW-Authenticate": "Bearer"}


class Forbidden(RouterError):
    """Whoever asks may not."""

    status = 403
    type = "permission_error"


class UnknownModel(RouterError):
    """No specialist, alias or version answers to this reference."""

    status = 404
    type = "invalid_request_error"
    code = "model_not_found"

    def __init__(self, reference: str, nearest: Sequence[str] = ()) -> None:
        shown = ascii(reference if len(reference) <= 160 else f"{reference[:160]}...")
        super().__init__(f"There is no model {shown}.{did_you_mean(nearest)}", param="model")
        self.args = (reference, tuple(nearest))


class RateLimited(RouterError):
    """A key has used up its `limit` of `what` a minute; more is there after `retry_after` s."""

    status = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"

    def __init__(self, what: str, limit: int, retry_after: float) -> None:
        super().__init__(f"The key's quota of {limit:,} {what} a minute is used up; wait a little.")
        self.args = (what, limit, retry_after)
        self.retry_after = retry_after


class NotReady(RouterError):
    """This replica has not built its first snapshot yet."""

    status = 503
    code = "not_ready"
    retry_after = 1.0


class ClientGone(RouterError):
    """The client closed its connection before the answer; nobody reads this error."""

    status = 499
    code = "client_gone"


class EngineRefused(RouterError):
    """The engine did not take a generation on."""


class ContextOverflow(EngineRefused):
    """The prompt of `prompt_tokens` does not fit into the context of `limit` tokens."""

    status = 400
    type = "invalid_request_error"
    code = "context_length_exceeded"

    def __init__(self, prompt_tokens: int, limit: int) -> None:
        super().__init__(
            f"The prompt takes at least {prompt_tokens} tokens, but the context holds {limit} "
            f"and the answer needs room in it too; shorten the prompt.",
            param="messages",
        )
        self.args = (prompt_tokens, limit)
        self.prompt_tokens, self.limit = prompt_tokens, limit


class Overloaded(EngineRefused):
    """The queue is full; the client may try again after `retry_after` seconds."""

    status = 429
    type = "rate_limit_error"
    code = "overloaded"

    def __init__(self, retry_after: float = 1.0, message: str | None = None) -> None:
        super().__init__(message or "All places are taken at the moment; try again shortly.")
        self.args = (retry_after, message)
        self.retry_after = retry_after


class Unavailable(EngineRefused):
    """No engine can answer now; the client may try again after `retry_after` seconds."""

    status = 503
    code = "unavailable"

    def __init__(self, retry_after: float = 1.0, message: str | None = None) -> None:
        super().__init__(message or "No engine can answer at the moment; try again shortly.")
        self.args = (retry_after, message)
        self.retry_after = retry_after


class DeadlinePassed(EngineRefused):
    """The answer was not complete within `seconds`."""

    status = 504
    code = "deadline_exceeded"

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"The answer was not complete within {seconds:g} s; ask for fewer tokens, or try later."
        )
        self.args = (seconds,)


def did_you_mean(nearest: Sequence[str]) -> str:
    """A sentence that offers the nearest names, with a leading space; empty without any."""
    return f" Did you mean {' or '.join(repr(name) for name in nearest)}?" if nearest else ""
