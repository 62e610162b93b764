"""Spans of a request's way, by OpenTelemetry's names for HTTP and for generative AI.

Where nobody records them (`deploy/telemetry.py`) they cost next to nothing.
https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager

from opentelemetry.propagate import extract, inject
from opentelemetry.trace import Span, SpanKind, StatusCode, get_tracer, use_span

from router.engine import Delta, Items, Usage
from router.routing.decision import Decision

TRACER = get_tracer("myriad")
FAILED = 500
"""Statuses from which on it is the server that failed."""


def arrived(method: str, path: str, headers: Mapping[str, str]) -> AbstractContextManager[Span]:
    """The span of an HTTP request, under the one that its `traceparent` names."""
    return TRACER.start_as_current_span(
        method,
        context=extract(headers),
        kind=SpanKind.SERVER,
        attributes={"http.request.method": method, "url.path": path},
    )


def answered(span: Span, method: str, route: str, status: int, request_id: str) -> None:
    """Say how an HTTP request ended."""
    if not span.is_recording():
        return
    span.update_name(f"{method} {route}")
    span.set_attributes(
        {
            "http.route": route,
            "http.response.status_code": status,
            "myriad.request.id": request_id,
        }
    )
    if status >= FAILED:
        span.set_status(StatusCode.ERROR)


def deciding() -> AbstractContextManager[Span]:
    """The span of finding who answers."""
    return TRACER.start_as_current_span("route")


def decided(span: Span, decision: Decision, model: str) -> None:
    """Say who was found for what a request names."""
    if not span.is_recording():
        return
    span.set_attributes({"gen_ai.request.model": model, "myriad.rule": decision.rule})
    if decision.specialist is not None:
        span.set_attribute("myriad.specialist", decision.specialist)
    if decision.score is not None:
        span.set_attribute("myriad.probability", decision.score)


def answering(items: Items, operation: str, decision: Decision, base: str) -> Items:
    """The items of an answer, made under a span of their own, which ends with them."""
    name = decision.specialist or base
    attributes = {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": "myriad",
        "gen_ai.response.model": name,
        "myriad.digest": decision.digest or "",
    }
    span = TRACER.start_span(f"{operation} {name}", kind=SpanKind.CLIENT, attributes=attributes)
    return under(span, items) if span.is_recording() else items


def generating(items: Items, adapter: str | None, sent: Mapping[str, str]) -> Items:
    """The items that an engine makes, under a span below the one that was `sent` with the call."""
    span = TRACER.start_span(
        "generate",
        context=extract(sent),
        kind=SpanKind.SERVER,
        attributes={"myriad.digest": adapter or ""},
    )
    return under(span, items) if span.is_recording() else items


async def under(span: Span, items: Items) -> Items:
    """The same items, each made under a span that tells of them and ends with them."""
    story = _Story(span)
    try:
        while (item := await _next(span, items)) is not None:
            story.add(item)
            yield item
    except Exception as error:
        span.record_exception(error)
        span.set_status(StatusCode.ERROR, str(error))
        raise
    finally:
        span.end()
        await items.aclose()


def sent() -> Mapping[str, str]:
    """The span that is under way, for who is called."""
    carrier: dict[str, str] = {}
    inject(carrier)
    return carrier


async def _next(span: Span, items: Items) -> Delta | Usage | None:
    with use_span(span, record_exception=False, set_status_on_exception=False):
        return await anext(items, None)


class _Story:
    """What a span tells of an answer: its first token, why it ended, what it took."""

    def __init__(self, span: Span) -> None:
        self._span = span
        self._begun = False
        self._ends: list[str] = []

    def add(self, item: Delta | Usage) -> None:
        if isinstance(item, Usage):
            self._span.set_attributes(
                {
                    "gen_ai.usage.input_tokens": item.prompt_tokens,
                    "gen_ai.usage.output_tokens": item.completion_tokens,
                    "gen_ai.usage.cache_read.input_tokens": item.cached_tokens,
                    "gen_ai.response.finish_reasons": self._ends,
                }
            )
            return
        if not self._begun:
            self._begun = True
            self._span.add_event("first token")
        if item.finish_reason is not None:
            self._ends.append(item.finish_reason)
