"""One table from exceptions to answers in OpenAI's error format, or in Anthropic's."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from registry.errors import (
    Conflict,
    InvalidInput,
    NotOwned,
    QuotaExceeded,
    RegistryError,
    StorageError,
    UnknownAnswer,
    UnknownKey,
    UnknownObject,
    UnknownSpecialist,
)
from router.errors import INTERNAL as SAID_OF_INTERNAL
from router.errors import RouterError
from router.wire.body import refusal
from router.wire.messages_error import in_messages, is_of_messages

INVALID = "invalid_request_error"


@dataclass(frozen=True, slots=True)
class Failure:
    """A refusal or an error as clients see it."""

    status: int
    message: str
    type: str
    param: str | None = None
    code: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def body(self) -> dict[str, Any]:
        """OpenAI's error object."""
        error = {
            "message": self.message,
            "type": self.type,
            "param": self.param,
            "code": self.code,
        }
        return {"error": error}

    def answer(self, path: str) -> JSONResponse:
        """The HTTP answer to a request of a path."""
        body = in_messages(self.body) if is_of_messages(path) else self.body
        return JSONResponse(body, self.status, dict(self.headers))


QUOTA_HEADERS = {"Retry-After": "60"}
INTERNAL = Failure(
    500,
    SAID_OF_INTERNAL,
    "server_error",
    code="internal_error",
)
STORAGE = Failure(
    503,
    "The registry cannot be read or written at the moment; try again shortly.",
    "server_error",
    code="storage_unavailable",
    headers={"Retry-After": "1"},
)


def failure(error: BaseException) -> Failure:
    """How clients see an exception; what nobody foresaw tells them nothing of the inside."""
    match error:
        case RouterError():
            return Failure(
                error.status, error.message, error.type, error.param, error.code, error.headers
            )
        case RegistryError():
            return _of_registry(error)
        case RequestValidationError():
            return failure(refusal([first | {"loc": first["loc"][1:]} for first in error.errors()]))
        case HTTPException():
            return _of_status(error)
        case ClientDisconnect():
            return Failure(499, "The client is gone.", INVALID, None, "client_gone")
        case _:
            return INTERNAL


def _of_registry(error: RegistryError) -> Failure:
    match error:
        case UnknownAnswer():
            return Failure(404, error.message, INVALID, "id", "answer_not_found")
        case UnknownKey():
            return Failure(404, error.message, INVALID, None, "key_not_found")
        case UnknownObject():
            return Failure(404, error.message, INVALID, "id", f"{error.kind}_not_found")
        case UnknownSpecialist():
            return Failure(404, error.message, INVALID, None, "specialist_not_found")
        case InvalidInput():
            return Failure(400, error.message, INVALID, error.param, error.code)
        case NotOwned():
            return Failure(403, error.message, "permission_error", None, "not_owned")
        case QuotaExceeded():
            return Failure(429, error.message, INVALID, None, "insufficient_quota", QUOTA_HEADERS)
        case Conflict():
            return Failure(409, error.message, INVALID, None, error.code)
        case StorageError():
            return STORAGE
        case _:
            return INTERNAL


def _of_status(error: HTTPException) -> Failure:
    messages = {
        404: "There is nothing at this path; /docs lists what there is.",
        405: "This path does not take this method; /docs lists what it takes.",
    }
    codes = {404: "not_found", 405: "method_not_allowed"}
    status = error.status_code
    kind = INVALID if status < 500 else "server_error"
    message = messages.get(status, error.detail)
    return Failure(status, message, kind, None, codes.get(status), dict(error.headers or {}))


async def answer_failure(request: Request, error: Exception) -> JSONResponse:
    """The exception handler of all foreseen errors."""
    return failure(error).answer(request.scope["path"])


HANDLED: tuple[type[Exception], ...] = (
    RouterError,
    RegistryError,
    RequestValidationError,
    HTTPException,
    ClientDisconnect,
)
