"""Health checks, metrics and the API description: /livez, /readyz, /metrics, /openapi.json, /docs."""

import secrets
from functools import cache
from pathlib import Path
from typing import Any

import flask_swagger_ui
import msgspec
from flask import Response, current_app, render_template, send_from_directory
from marshmallow import fields

from streamsvc.http import metrics
from streamsvc.http.edge import Blueprint, json_response
from streamsvc.http.etags import add_cache_headers, compute_etag, not_modified_response
from streamsvc.operations.maintenance.health import run_health_checks
from streamsvc.rules.refusals.requests import NotFound, NotReady
from streamsvc.schemas.base import StrictSchema
from streamsvc.security.authentication import public
from streamsvc.settings import current_settings

bp = Blueprint(
    "health",
    __name__,
    template_folder="../pages/templates",
    description="Health checks, metrics and the API description.",
)
BLUEPRINTS = (bp,)
SWAGGER_UI_FILES = Path(flask_swagger_ui.__file__).parent / "dist"
CACHE_ONE_DAY = "public, max-age=86400"
REVALIDATE = "public, no-cache"
STOPS_CHARGING = frozenset(("clock", "reconciled"))
"""Checks that do not keep the service from being ready: only charging waits for them."""


class Health(StrictSchema):
    status = fields.String(required=True)


class Readiness(Health):
    checks = fields.Dict(keys=fields.String(), values=fields.Boolean(), required=True)


@bp.route("/livez")
@public
@bp.response(200, Health)
def get_liveness() -> dict:
    """Check that the process responds.

    Touches neither the database nor other services.
    """
    return {"status": "ok"}


@bp.route("/readyz")
@public
@bp.errors(NotReady)
@bp.response(200, Readiness)
def get_readiness() -> Response | dict:
    """Check that the service is ready to serve requests.

    503 unless a write to the database succeeds, its schema is new enough and a worker is alive. The write is made at
    most once per second and process. While the machine's clock is not trusted, or a restored backup is not reconciled
    with the payment provider, the status is `degraded` instead of `ok`: nobody is charged, and everything else is
    served.
    """
    checks = run_health_checks()
    failed = [name for name, passed in checks.items() if not passed]
    if STOPS_CHARGING.issuperset(failed):
        return {"status": "degraded" if failed else "ok", "checks": checks}
    raise NotReady(detail=f"Not ready: {', '.join(failed)}.", checks=checks)


@bp.route("/metrics")
@public
@bp.errors(NotFound)
@bp.response(200, {"type": "string"}, content_type="text/plain", description="Metrics in the Prometheus text format.")
def get_metrics() -> Response:
    """Retrieve metrics in Prometheus format.

    404 unless `STREAMSVC_METRICS` is on. While the database is unavailable, `streamsvc_database_up` is 0, and the
    metrics read from it are absent.
    """
    if not current_settings().metrics:
        raise NotFound
    return Response(metrics.render_metrics(), content_type=metrics.CONTENT_TYPE)


@bp.route("/openapi.json")
@public
@bp.etag
@bp.response(200, {"type": "object"}, description="The OpenAPI 3.1 document.")
def get_openapi() -> Response:
    """Retrieve the OpenAPI description of this API."""
    _require_public_docs()
    document = _openapi_json()
    etag = compute_etag(document)
    return not_modified_response(etag, REVALIDATE) or add_cache_headers(json_response(document), etag, REVALIDATE)


@bp.route("/docs")
@public
@bp.response(200, {"type": "string"}, content_type="text/html", description="An HTML page.")
def get_docs() -> Response:
    """Show the API reference.

    The page loads nothing from other hosts.
    """
    _require_public_docs()
    nonce = secrets.token_urlsafe(16)
    page = Response(render_template("docs.html", nonce=nonce), content_type="text/html; charset=utf-8")
    page.headers["Content-Security-Policy"] = (
        f"default-src 'none'; script-src 'self' 'nonce-{nonce}'; style-src 'self' 'unsafe-inline';"
        " img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'"
    )
    return page


@bp.route("/docs/<path:name>")
@public
@bp.response(200, {"type": "string"}, content_type="*/*", description="The file.")
def get_docs_file(name: str) -> Response:
    """Retrieve a file of the API reference page."""
    _require_public_docs()
    response = send_from_directory(SWAGGER_UI_FILES, name, conditional=False)  # a 412 would have no problem document
    response.headers["Cache-Control"] = CACHE_ONE_DAY
    return response


def _require_public_docs() -> None:
    """Raise NotFound if `STREAMSVC_DOCS` is off."""
    if not current_settings().docs:
        raise NotFound


def _openapi_json() -> bytes:
    """Return the OpenAPI document as JSON. Encoded once per process."""
    return _encode_openapi(current_app.extensions["api"])


@cache
def _encode_openapi(api: Any) -> bytes:
    return msgspec.json.encode(api.spec.to_dict())
