"""Raw bytes of a request to a validated body, or to a refusal that says what to change."""

from collections.abc import Sequence
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import from_json

from registry.plain_words import in_words
from router.errors import InvalidRequest, RouterError, UnsupportedParameter
from router.wire.base import Body

BodyT = TypeVar("BodyT", bound=Body)

MAX_CONTAINERS = 20_000
MAX_ITEMS = 150_000
CODES = {
    "missing": "missing_required_parameter",
    "unknown_parameter": "unknown_parameter",
    "unsupported_parameter": "unsupported_parameter",
}


def parse(raw: bytes, form: type[BodyT]) -> BodyT:
    """Read strict JSON (no NaN, no lone surrogates) into `form`.

    Raises:
        InvalidRequest: When it is no JSON or does not validate; `param` is the JSON path.
    """
    _require_plain(raw)
    try:
        data = from_json(raw, allow_inf_nan=False)
    except ValueError as error:
        raise InvalidRequest(f"The body is not valid JSON: {error}", code="invalid_json") from error
    try:
        return form.model_validate(data)
    except ValidationError as error:
        raise refusal(error.errors(include_url=False)) from error


def _require_plain(raw: bytes) -> None:
    """Refuse what would take long to parse, by counting signs: each makes an object or an item.

    Signs in texts are counted too; so many are beyond what any base's context holds.
    """
    if raw.count(b"{") + raw.count(b"[") > MAX_CONTAINERS or raw.count(b",") > MAX_ITEMS:
        raise InvalidRequest(
            f"The body has more than {MAX_CONTAINERS:,} opening brackets or {MAX_ITEMS:,} commas; "
            "send less at once.",
            code="body_too_complex",
        )


def refusal(errors: Sequence[Any]) -> RouterError:
    """The first of pydantic's errors as a refusal."""
    first = errors[0]
    field = first.get("ctx", {}).get("field")
    path = json_path(first["loc"], field)
    kind: str = first["type"]
    refused = UnsupportedParameter if kind == "unsupported_parameter" else InvalidRequest
    return refused(_sentence(path, first), param=path or None, code=_code(kind))


def json_path(location: Sequence[str | int], field: str | None = None) -> str:
    """`("messages", 1, "role")` as `messages[1].role`; tags in brackets are left out."""
    steps = [step for step in location if isinstance(step, int) or not step.startswith("(")]
    path = ""
    for step in [*steps, field] if field else steps:
        # A client may send a key of any length; the answer need not repeat it all.
        path += f"[{step}]" if isinstance(step, int) else f".{step[:64]}"
    return path.removeprefix(".")


def _code(kind: str) -> str:
    if kind.endswith(("_type", "_parsing")):
        return "invalid_type"
    return CODES.get(kind, "invalid_value")


def _sentence(path: str, error: Any) -> str:
    subject = f"'{path}'" if path else "The body"
    sentence = f"{subject} {in_words(error)}"
    return sentence if sentence.endswith((".", "?")) else f"{sentence}."
