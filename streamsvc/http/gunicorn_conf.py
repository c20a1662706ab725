"""gunicorn's configuration. Everything an operator may change is a setting listed by `streamsvc config`."""

import os
import socket
from http import HTTPStatus
from typing import TYPE_CHECKING

from gunicorn import util

from streamsvc.settings import Settings

if TYPE_CHECKING:
    from gunicorn.arbiter import Arbiter
    from gunicorn.workers.base import Worker

_settings = Settings.from_env()

bind = f"{_settings.host}:{_settings.port}"
worker_class = "streamsvc.http.worker.BufferingWorker"
workers = _settings.workers
threads = _settings.threads
timeout = 60
graceful_timeout = 30
keepalive = 5
max_requests = 0
limit_request_line = 8190
control_socket_disable = True
loglevel = _settings.log_level


def post_worker_init(worker: "Worker") -> None:
    from streamsvc.worker import gc_tuning  # loaded in the worker only

    gc_tuning.tune_gc()
    worker.wsgi.extensions["watch_clock"]()
    if ready_fd := os.environ.get("_STREAMSVC_READY_FD"):  # set by `streamsvc serve`, which waits for it
        os.write(int(ready_fd), b".")


if _settings.metrics:
    _is_under_serve = "PROMETHEUS_MULTIPROC_DIR" in os.environ  # the worker and old processes count there, too

    def on_starting(server: "Arbiter") -> None:
        from streamsvc.http import metrics

        if not _is_under_serve:
            metrics.reset_metrics_folder(metrics.use_metrics_folder(_settings))

    def child_exit(server: "Arbiter", worker: "Worker") -> None:
        from streamsvc.http import metrics

        metrics.remove_process(worker.pid)


RETRY_AFTER_S = 5
PROBLEMS = {
    400: ("bad_request", "The request is not valid HTTP."),
    408: ("request_timeout", "The request did not arrive in time. Send it again, faster."),
    414: ("request_uri_too_long", f"The request line is too long; send at most {limit_request_line:,} bytes."),
    431: ("request_header_fields_too_large", "A header is too long, or there are too many; send less."),
    500: ("internal_error", "The service failed on this request. Try again later."),
    501: (
        "not_implemented",
        "The only transfer coding that is supported is chunked.",
    ),
    503: ("unavailable", "The service is temporarily unavailable; try again shortly."),
}
"""The code and the sentence for each status that gunicorn itself responds with in practice."""


def write_problem(connection: socket.socket, status: int, reason: str, message: str) -> None:
    """Report an error that never reaches the app, such as a broken request line, as a problem document."""
    from streamsvc.http import edge  # loaded in the worker only

    code, detail = PROBLEMS.get(status) or (HTTPStatus(status).name.lower(), f"{reason}.")
    request_id = edge.new_request_id()
    body = edge.problem_body(status, code, detail, request_id)
    headers = {"Content-Type": edge.PROBLEM_MEDIA_TYPE, "Content-Length": len(body), "X-Request-Id": request_id}
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = RETRY_AFTER_S
    lines = [f"HTTP/1.1 {status} {reason}", *(f"{k}: {v}" for k, v in headers.items()), "Connection: close", "", ""]
    util.write_nonblock(connection, "\r\n".join(lines).encode() + body)


util.write_error = write_problem
