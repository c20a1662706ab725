"""The access log: one line per request, with its route instead of its path, and without query, tokens and addresses.

As WSGI middleware around everything else, it sees the responses of hot reads and of other middleware, too. The route
and the account are known to the request's context alone, which leaves them in the environment.
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from flask import Response, request

from streamsvc.logs import ACCESS_LOGGER, name_in_log, request_fields
from streamsvc.security.operators import Operator
from streamsvc.security.principals import current_principal
from streamsvc.security.viewers import Viewer

if TYPE_CHECKING:
    from _typeshed import OptExcInfo

CALLER = "streamsvc.log_caller"
"""Key in the environment: who called and which route, as fields of the log and attributes of the span."""
METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
log = logging.getLogger(ACCESS_LOGGER)


def note_caller(response: Response) -> Response:
    """Leave the current request's route and principal for the log and the trace."""
    rule, principal = request.url_rule, current_principal()
    fields: dict[str, Any] = {"route": rule.rule if rule else None}
    if isinstance(principal, Viewer):
        fields["account"] = name_in_log(principal.account_id)
    elif isinstance(principal, Operator):
        fields["operator"] = name_in_log(principal.id)
    request.environ[CALLER] = fields
    return response


class AccessLogMiddleware:
    """Logs each request when its response is complete, or the client has gone."""

    def __init__(self, wsgi_app: WSGIApplication) -> None:
        self.wsgi_app = wsgi_app

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        started, status = time.perf_counter(), 500

        def start(line: str, headers: list[tuple[str, str]], exc_info: "OptExcInfo | None" = None) -> Any:
            nonlocal status
            status = int(line[:3])
            return start_response(line, headers, exc_info)

        try:
            chunks = self.wsgi_app(environ, start)
        except BaseException:
            log_request(environ, 500, started, 0)
            raise
        if type(chunks) is list:
            log_request(environ, status, started, sum(map(len, chunks)))
            return chunks
        return ObservedChunks(chunks, lambda sent: log_request(environ, status, started, sent))


class ObservedChunks:
    """The chunks of a response; calls `on_end` once with the number of bytes."""

    def __init__(self, chunks: Iterable[bytes], on_end: Callable[[int], None]) -> None:
        self.chunks, self.on_end, self.sent = chunks, on_end, 0

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self.chunks:
            self.sent += len(chunk)
            yield chunk

    def close(self) -> None:
        """End the response; servers call it in any case."""
        try:
            if hasattr(self.chunks, "close"):
                self.chunks.close()
        finally:
            self.on_end(self.sent)


def log_request(environ: WSGIEnvironment, status: int, started: float, sent: int) -> None:
    """Log one line. `started`: by `time.perf_counter`."""
    method = environ["REQUEST_METHOD"]
    fields = request_fields(environ) | {
        "method": method if method in METHODS else None,
        "route": None,
        "status": status,
        "duration_ms": round((time.perf_counter() - started) * 1000, 3),
        "bytes": sent,
    }
    fields |= environ.get(CALLER, {})
    log.info("request", extra={"fields": fields})


def log_server_problem(request_id: str, status: int) -> None:
    """Log a request that never reached the app."""
    if log.isEnabledFor(logging.INFO):
        log.info("request not read", extra={"fields": {"request_id": request_id, "status": status}})
