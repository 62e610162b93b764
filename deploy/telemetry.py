"""What a process tells of itself beside metrics: its log, and spans for OpenTelemetry."""

import json
import logging
import sys
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from opentelemetry.trace import get_current_span, set_tracer_provider

from deploy.settings import LogSettings, Settings, TraceSettings
from router.current import current_request

PACKAGES = ("registry", "router", "specialists", "deploy")
SERVICE = "myriad"
TEXT = "%(asctime)s %(levelname)s %(name)s [%(request)s] %(message)s"
NOBODY = "-"
_USUAL = frozenset(vars(logging.makeLogRecord({}))) | {"message", "taskName", "request"}
"""What every record has; all else was given with the message."""


def observe(settings: Settings, process: str) -> None:
    """Log, and record spans, as the settings say; once per process.

    Args:
        settings: all of them.
        process: names the process.
    """
    set_up_log(settings.logs, process)
    if settings.traces.endpoint is not None:
        _record_spans(settings.traces, process)


def set_up_log(settings: LogSettings, process: str) -> None:
    """Have our packages log to standard error; Ray keeps it among the cluster's logs."""
    # Serve puts a log of its own, of lines of text, in the place of standard error.
    handler = logging.StreamHandler(sys.__stderr__)
    handler.addFilter(_add_request)
    handler.setFormatter(Lines(process) if settings.format == "json" else Text(TEXT))
    for name in PACKAGES:
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(settings.level.upper())
        logger.propagate = False


class Text(logging.Formatter):
    """Lines for people."""

    def formatException(self, ei: Any) -> str:  # noqa: N802, as it is called there
        """See `logging.Formatter`, which prints it; Serve's `print` spells a file's as a tuple."""
        return _spelt_out(ei).rstrip("\n")


class Lines(logging.Formatter):
    """One JSON object a line."""

    def __init__(self, process: str) -> None:
        """Of a process of this name."""
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        return json.dumps(dict(self._fields(record)), default=str, ensure_ascii=False)

    def _fields(self, record: logging.LogRecord) -> Iterator[tuple[str, Any]]:
        yield "time", datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        yield "level", record.levelname.lower()
        yield "logger", record.name
        yield "process", self._process
        yield "message", record.getMessage()
        if (request := current_request()) is not None:
            yield "request_id", request
        context = get_current_span().get_span_context()
        if context.is_valid:
            yield "trace_id", f"{context.trace_id:032x}"
            yield "span_id", f"{context.span_id:016x}"
        yield from ((name, value) for name, value in vars(record).items() if name not in _USUAL)
        if record.exc_info and record.exc_info[0] is not None:
            yield "error", _spelt_out(record.exc_info)


def _spelt_out(error: Any) -> str:
    return "".join(traceback.format_exception(*error))


def _add_request(record: logging.LogRecord) -> bool:
    record.request = current_request() or NOBODY
    return True


def _record_spans(settings: TraceSettings, process: str) -> None:
    # Imported here: it takes a third of a second, for those who record nothing.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio

    provider = TracerProvider(
        sampler=ParentBasedTraceIdRatio(settings.share),
        resource=Resource.create({"service.name": SERVICE, "service.instance.id": process}),
    )
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(settings.endpoint)))
    set_tracer_provider(provider)
