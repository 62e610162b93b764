"""What is told of a request's way: spans under the caller's, and lines that name it."""

import asyncio
import json
import logging
import sys

import httpx
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from patience import HANGS
from served import served, service

from deploy.call import Call
from deploy.settings import LogSettings
from deploy.telemetry import PACKAGES, Lines, set_up_log
from router import tracing
from router.current import current_request, underway
from router.engine import Delta, Generation, Usage
from router.errors import Unavailable

TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = "b7ad6b7169203331"
HEADERS = {"traceparent": f"00-{TRACE}-{CALLER}-01", "x-request-id": "mine"}
BODY = {"model": "auto", "messages": [{"role": "user", "content": "translate dog into french"}]}
CHAT = "/v1/chat/completions"


@pytest.fixture
def spans(monkeypatch):
    """All spans that have ended, by name."""
    kept, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    monkeypatch.setattr(tracing, "TRACER", provider.get_tracer("test"))
    yield lambda: {span.name: span for span in kept.get_finished_spans()}
    provider.shutdown()


@pytest.fixture
def made(home):
    with service(home) as opened:
        yield opened


def ask(made, path=CHAT, **options):
    """The answer of a server that has ended since: all was told of it."""
    with served(made) as url:
        return httpx.request("POST" if options else "GET", f"{url}{path}", **options, timeout=HANGS)


def parent(span):
    return f"{span.parent.span_id:016x}" if span.parent else None


def own(span):
    return f"{span.context.span_id:016x}"


@pytest.mark.parametrize("stream", [False, True])
def test_a_chat_is_told_of_under_its_callers_span(spans, made, stream):
    answer = ask(made, json=BODY | {"stream": stream}, headers=HEADERS)
    assert answer.status_code == 200
    found = spans()
    arrived, route, chat = found[f"POST {CHAT}"], found["route"], found["chat ada/french"]
    assert {f"{span.context.trace_id:032x}" for span in found.values()} == {TRACE}
    assert parent(arrived) == CALLER
    assert {parent(route), parent(chat)} == {own(arrived)}
    assert (arrived.kind, chat.kind) == (SpanKind.SERVER, SpanKind.CLIENT)
    assert arrived.attributes["http.response.status_code"] == 200
    assert arrived.attributes["myriad.request.id"] == "mine"
    assert route.attributes["myriad.specialist"] == "ada/french"
    assert 0 < route.attributes["myriad.probability"] <= 1
    assert chat.attributes["gen_ai.operation.name"] == "chat"
    assert chat.attributes["gen_ai.usage.output_tokens"] > 0
    assert chat.attributes["gen_ai.response.finish_reasons"] == ("stop",)
    assert [event.name for event in chat.events] == ["first token"]


def test_a_refusal_is_no_error_of_the_server_and_a_failure_is(spans, made, monkeypatch):
    ask(made, json={"model": "auto"})
    assert spans()[f"POST {CHAT}"].status.status_code is StatusCode.UNSET

    async def lost(_generation):
        raise Unavailable
        yield

    monkeypatch.setattr(made.engine, "generate", lost)
    ask(made, json=BODY)
    assert spans()["chat ada/french"].status.status_code is StatusCode.ERROR
    assert spans()[f"POST {CHAT}"].status.status_code is StatusCode.ERROR


def test_an_unknown_path_names_no_span(spans, made):
    ask(made, "/v1/nobody/knows/this")
    assert "GET unmatched" in spans()


async def items():
    yield Delta(0, "a", 1)
    yield Delta(0, "", 1, finish_reason="length")
    yield Usage(3, 2, cached_tokens=1)


def test_an_engines_span_lies_under_that_of_the_call(spans):
    async def through():
        async def hop():
            # As `RemoteEngine` does, while its items are asked for.
            call = Call(Generation("g", None, "x"), trace=tracing.sent())
            async for item in tracing.generating(items(), "sha256:1", call.elsewhere().trace):
                yield item

        outer = tracing.TRACER.start_span("outer")
        return [item async for item in tracing.under(outer, hop())]

    assert len(asyncio.run(through())) == 3
    found = spans()
    assert parent(found["generate"]) == own(found["outer"])
    assert found["generate"].attributes["gen_ai.usage.cache_read.input_tokens"] == 1


def test_where_nobody_records_the_items_are_left_alone():
    given = items()
    assert tracing.generating(given, None, {}) is given
    assert tracing.sent() == {}
    asyncio.run(given.aclose())


def test_every_request_has_a_line(made, caplog):
    with caplog.at_level(logging.INFO, "router.requests"):
        ask(made, json=BODY, headers=HEADERS)
    [record] = [each for each in caplog.records if each.name == "router.requests"]
    assert record.getMessage().startswith(f"POST {CHAT} 200 ")
    assert (record.method, record.route, record.status) == ("POST", CHAT, 200)
    assert record.seconds > 0


def test_a_line_of_json_says_whose_request_it_is(spans):
    logger = logging.getLogger("test")
    with underway("req-7"), tracing.TRACER.start_as_current_span("here") as span:
        try:
            raise ValueError("a bug")
        except ValueError:
            record = logger.makeRecord(
                "router.x", logging.ERROR, "", 1, "lost %s – %d", ("é", 3), None,
                extra={"status": 500},
            )  # fmt: skip
            record.exc_info = (ValueError, ValueError("a bug"), None)
        said = json.loads(Lines("router-1").format(record))
        assert said["trace_id"] == f"{span.get_span_context().trace_id:032x}"
    assert said["message"] == "lost é – 3"
    assert said["request_id"] == "req-7"
    assert (said["process"], said["level"], said["status"]) == ("router-1", "error", 500)
    assert "ValueError: a bug" in said["error"]
    assert current_request() is None
    assert "here" in spans()


@pytest.fixture
def loggers():
    """Our packages' loggers, as they were before."""
    ours = [logging.getLogger(name) for name in PACKAGES]
    before = [(each.handlers[:], each.level, each.propagate) for each in ours]
    yield
    for each, (handlers, level, propagate) in zip(ours, before, strict=True):
        each.handlers[:], each.propagate = handlers, propagate
        each.setLevel(level)


@pytest.mark.usefixtures("loggers")
def test_the_log_is_as_the_settings_say(capsys, monkeypatch):
    monkeypatch.setattr(sys, "__stderr__", sys.stderr)
    set_up_log(LogSettings(level="info", format="json"), "engine-1")
    set_up_log(LogSettings(level="info", format="json"), "engine-1")
    logging.getLogger("specialists.engine").info("ready")
    logging.getLogger("specialists.engine").debug("never")
    [line] = capsys.readouterr().err.splitlines()
    assert json.loads(line)["message"] == "ready"
    set_up_log(LogSettings(), "engine-1")
    with underway("req-8"):
        logging.getLogger("router.api").warning("slow")
    logging.getLogger("router.api").info("never")
    [line] = capsys.readouterr().err.splitlines()
    assert line.endswith("WARNING router.api [req-8] slow")


@pytest.mark.usefixtures("loggers")
def test_an_error_is_told_line_by_line_whatever_prints(capsys, monkeypatch):
    """In a replica `print` is Serve's, which hands on what goes to a file as one tuple."""
    monkeypatch.setattr(sys, "__stderr__", sys.stderr)
    set_up_log(LogSettings(), "engine-1")
    plain = print

    def serves(*objects, file=None, **options):
        plain(objects, file=file, **options)

    monkeypatch.setattr("builtins.print", serves)
    try:
        raise ValueError("a bug")
    except ValueError:
        logging.getLogger("router.api").exception("failed")
    monkeypatch.undo()
    first, second, *_, last = capsys.readouterr().err.splitlines()
    assert first.endswith("ERROR router.api [-] failed")
    assert (second, last) == ("Traceback (most recent call last):", "ValueError: a bug")
