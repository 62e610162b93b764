"""An OpenTelemetry collector that keeps what it is sent: OTLP over HTTP."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span


class Collector:
    """Spans by the trace that they are of."""

    def __init__(self) -> None:
        self.url = ""
        self._spans: list[tuple[str, Span]] = []
        self._came = threading.Condition()

    def take(self, body: bytes) -> None:
        sent = ExportTraceServiceRequest.FromString(body)
        with self._came:
            for resource in sent.resource_spans:
                names = {each.key: each.value.string_value for each in resource.resource.attributes}
                for scope in resource.scope_spans:
                    self._spans += [(names["service.instance.id"], span) for span in scope.spans]
            self._came.notify_all()

    def of(self, trace: str, names: set[str], seconds: float) -> dict[str, tuple[str, Span]]:
        """A trace's spans by name, each with the process that it is of, once those named are here.

        Processes send theirs each in its own time, and frameworks make some of their own.
        """

        def found():
            of_trace = (each for each in self._spans if each[1].trace_id.hex() == trace)
            return {each[1].name: each for each in of_trace}

        with self._came:
            self._came.wait_for(lambda: names <= found().keys(), seconds)
            return found()


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector that listens."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            collector.take(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        host, port = server.server_address[:2]
        collector.url = f"http://{host}:{port}/v1/traces"
        try:
            yield collector
        finally:
            server.shutdown()
            thread.join()
