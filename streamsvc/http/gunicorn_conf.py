"""gunicorn's configuration. Everything an operator may change is a setting listed by `streamsvc config`."""

import gc
import os
import socket
import sys
from typing import TYPE_CHECKING, Any

from gunicorn import glogging, util

from streamsvc.http.request_limits import MAX_FIELD_BYTES, MAX_LINE_BYTES
from streamsvc.logs import configure_logging
from streamsvc.settings import Settings, SettingsError

if TYPE_CHECKING:
    from gunicorn.arbiter import Arbiter
    from gunicorn.workers.base import Worker

try:
    _settings = Settings.from_env()
except SettingsError as error:
    sys.exit(f"streamsvc cannot start: {error}")

bind = f"{_settings.host}:{_settings.port}"
worker_class = "streamsvc.http.worker.BufferingWorker"
workers = _settings.workers
threads = _settings.threads
timeout = 60
graceful_timeout = 30
keepalive = 5
max_requests = 0
forwarder_headers = ""  # by default a proxy on this machine may pass on SCRIPT_NAME, which changes the path
limit_request_line = MAX_LINE_BYTES
limit_request_field_size = MAX_FIELD_BYTES
control_socket_disable = True
loglevel = "info" if _settings.log_level == "debug" else _settings.log_level
"""At `debug`, gunicorn logs the path of each request."""


class GunicornLog(glogging.Logger):
    """gunicorn's log without the text of requests, which may hold tokens; our loggers are set up with it."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        configure_logging(_settings)

    def warning(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        if str(msg).startswith("Invalid request from"):
            msg, args = "a request is not valid HTTP", ()
        super().warning(msg, *args, **kwargs)

    def exception(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        if str(msg).startswith("Error handling request"):
            msg, args = "a request failed", ()
        super().exception(msg, *args, **kwargs)


logger_class = GunicornLog


def post_fork(server: "Arbiter", worker: "Worker") -> None:
    gc.disable()  # while the app is loaded, whose objects stay


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


def write_problem(connection: socket.socket, status: int, reason: str, message: str) -> None:
    """Report an error that never reaches the app, such as a broken request line, as a problem document."""
    from streamsvc.http.server_problems import server_problem  # loaded in the worker only

    headers, body = server_problem(status, reason)
    lines = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {value}" for name, value in headers), "", ""]
    util.write_nonblock(connection, "\r\n".join(lines).encode() + body)


util.write_error = write_problem
