"""Logging: lines of text or of JSON on the standard error stream, and the names under which they mention accounts."""

import hmac
import logging
import sys
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import msgspec
from flask import has_request_context, request

from streamsvc.rules.trace_context import parse_trace_id
from streamsvc.settings import Settings, current_settings

TEXT_FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"
ACCESS_LOGGER = "streamsvc.access"
HASH_DIGITS = 16
_encode = msgspec.json.Encoder().encode


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON: time, level, logger, message; the request's id and trace; `extra` fields.

    Fields are passed as `extra={"fields": {…}}`.
    """

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        fields = getattr(record, "fields", None)
        if fields is not None:
            line |= fields
        elif has_request_context():
            line |= request_fields(request.environ)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return _encode(line).decode()


class TextFormatter(logging.Formatter):
    """Formats a record as a line of text, with its `extra` fields as `name=value` at the end."""

    def format(self, record: logging.LogRecord) -> str:
        fields = getattr(record, "fields", {})
        return " ".join([super().format(record), *(f"{name}={value}" for name, value in fields.items())])


def request_fields(environ: dict[str, Any]) -> dict[str, str]:
    """Return the id of a request, and of its trace if it has one."""
    fields = {"request_id": environ.get("streamsvc.request_id", "")}
    trace_id = parse_trace_id(environ.get("HTTP_TRACEPARENT", ""))
    return fields | {"trace_id": trace_id} if trace_id else fields


def make_formatter(log_format: str) -> logging.Formatter:
    """Return the formatter of a `STREAMSVC_LOG_FORMAT`."""
    return JsonFormatter() if log_format == "json" else TextFormatter(TEXT_FORMAT)


def configure_logging(settings: Settings) -> None:
    """Log to the standard error stream from here on: our loggers at the level of the settings, others from WARNING on.

    Libraries log what they send at lower levels, with addresses and tokens in it.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(make_formatter(settings.log_format))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("streamsvc").setLevel(settings.log_level.upper())
    logging.getLogger(ACCESS_LOGGER).setLevel(logging.INFO if settings.access_log else logging.CRITICAL)
    if settings.log_format == "json":
        logging.captureWarnings(True)
        for name in ("gunicorn.error", "gunicorn.access"):
            logging.getLogger(name).handlers.clear()
            logging.getLogger(name).propagate = True


def name_in_log(principal_id: str) -> str:
    """Return the name under which the log mentions an account or an operator: a keyed hash of its id.

    The key is derived from the oldest secret key in the settings, so that names stay the same when a new one is put
    before it.
    """
    return _name_in_log(current_settings().secret_key[-1], principal_id)


@lru_cache(maxsize=8192)
def _name_in_log(secret_key: str, principal_id: str) -> str:
    return hmac.digest(f"log {secret_key}".encode(), principal_id.encode(), "sha256").hex()[:HASH_DIGITS]
