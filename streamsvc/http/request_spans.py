"""Spans of requests, as WSGI middleware around everything else; see `streamsvc.tracing`."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from streamsvc.http.access_log import CALLER, ObservedChunks
from streamsvc.tracing import current_tracer

if TYPE_CHECKING:
    from opentelemetry.trace import Span


class TracingMiddleware:
    """Makes each request a span: of the trace in its `traceparent`, or of a new one.

    The span takes the place of the `traceparent`, so that logs name the trace, and services that we call continue it.
    """

    def __init__(self, wsgi_app: WSGIApplication) -> None:
        self.wsgi_app = wsgi_app

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        tracer = current_tracer()
        if tracer is None:
            return self.wsgi_app(environ, start_response)
        from opentelemetry.context import attach, detach
        from opentelemetry.trace import SpanKind, set_span_in_context
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        propagator = TraceContextTextMapPropagator()
        parent = propagator.extract({"traceparent": environ.get("HTTP_TRACEPARENT", "")})
        span = tracer.start_span(environ["REQUEST_METHOD"], parent, SpanKind.SERVER)
        context = set_span_in_context(span, parent)
        headers: dict[str, str] = {}
        propagator.inject(headers, context)
        environ["HTTP_TRACEPARENT"] = headers["traceparent"]
        token, status = attach(context), 500

        def start(line: str, *rest: Any) -> Any:
            nonlocal status
            status = int(line[:3])
            return start_response(line, *rest)

        def end(_sent: int = 0) -> None:
            _end_span(span, environ["REQUEST_METHOD"], environ.get(CALLER, {}), status)
            detach(token)

        try:
            chunks = self.wsgi_app(environ, start)
        except BaseException:
            end()
            raise
        if type(chunks) is list:
            end()
            return chunks
        return ObservedChunks(chunks, end)


def _end_span(span: "Span", method: str, caller: Mapping[str, Any], status: int) -> None:
    from opentelemetry.trace import StatusCode

    span.set_attribute("http.request.method", method)
    span.set_attribute("http.response.status_code", status)
    if route := caller.get("route"):
        span.update_name(f"{method} {route}")
        span.set_attribute("http.route", route)
    for name in ("account", "operator"):
        if name in caller:
            span.set_attribute(f"streamsvc.{name}", caller[name])
    if status >= 500:
        span.set_status(StatusCode.ERROR)
    span.end()
