"""OpenTelemetry traces: a span for each request, its statements and its calls to other services, and for each job.

Off unless `STREAMSVC_TRACING=1`. The SDK reads its own variables, such as OTEL_EXPORTER_OTLP_ENDPOINT and
OTEL_TRACES_SAMPLER: https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/

The spans are made here and not by the packages that instrument Flask and SQLAlchemy: those record paths and queries, in
which there are tokens, and the text of errors, in which there are e-mail addresses, and do not know hot reads.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import event

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

_tracer: "Tracer | None" = None
_SPANS = "streamsvc.spans"


def start_tracing(version: str, engines: Iterable[sa.Engine]) -> None:
    """Trace this process from here on, with the statements of these engines."""
    global _tracer
    if _tracer is None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        resource = Resource.create({"service.name": "streamsvc", "service.version": version})
        provider = TracerProvider(resource=resource)
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        _tracer = provider.get_tracer("streamsvc", version)
    for engine in engines:
        event.listen(engine, "before_cursor_execute", _start_statement)
        event.listen(engine, "after_cursor_execute", _end_statement)
        event.listen(engine, "handle_error", _end_failed_statement)


def current_tracer() -> "Tracer | None":
    """Return what makes this process's spans; None if tracing is off."""
    return _tracer


@contextmanager
def open_span(name: str, **attributes: int) -> Iterator[None]:
    """Make the block a span of the current trace; nothing if tracing is off."""
    if _tracer is None:
        yield
        return
    from opentelemetry.trace import StatusCode

    named = {f"streamsvc.{key}": value for key, value in attributes.items()}
    with _tracer.start_as_current_span(
        name, attributes=named, record_exception=False, set_status_on_exception=False
    ) as span:
        try:
            yield
        except BaseException:
            span.set_status(StatusCode.ERROR)
            raise


def start_statement_span(text: str) -> "Span | None":
    """Begin the span of a statement with placeholders in place of values; None if tracing is off."""
    if _tracer is None:
        return None
    return _tracer.start_span(text.split(None, 1)[0].upper(), attributes={"db.query.text": text})


def _start_statement(connection: sa.Connection, cursor: Any, text: str, *_: Any) -> None:
    connection.info.setdefault(_SPANS, []).append(start_statement_span(text))


def _end_statement(connection: sa.Connection, *_: Any) -> None:
    if (spans := connection.info.get(_SPANS)) and (span := spans.pop()):
        span.end()


def _end_failed_statement(context: Any) -> None:
    from opentelemetry.trace import StatusCode

    spans = context.connection.info.get(_SPANS) if context.connection is not None else None
    if spans and (span := spans.pop()):
        span.set_status(StatusCode.ERROR)
        span.end()
