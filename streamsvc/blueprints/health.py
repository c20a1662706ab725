"""Health checks, metrics and the API description: /livez, /readyz, /metrics, /openapi.json."""

from functools import cache
from typing import Any

import msgspec
from flask import Response, current_app
from marshmallow import fields

from streamsvc.blueprints.documentation import REVALIDATE, require_public_docs
from streamsvc.http import metrics
from streamsvc.http.edge import Blueprint, json_response
from streamsvc.http.etags import add_cache_headers, compute_etag, not_modified_response
from streamsvc.operations.maintenance.health import run_health_checks
from streamsvc.rules.refusals.requests import NotFound, NotReady
from streamsvc.schemas.base import StrictSchema
from streamsvc.security.access import public
from streamsvc.settings import current_settings

bp = Blueprint("health", __name__, description="Health checks, metrics and the API description.")
BLUEPRINTS = (bp,)
NOT_REQUIRED = frozenset(("clock", "reconciled", "replica"))
"""Checks that do not keep the service from being ready: only charging waits for them, or the primary does it all."""


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
    served. It is `degraded` too while a database replica is set and not used: everything is read from the primary.
    """
    checks = run_health_checks()
    failed = [name for name, passed in checks.items() if not passed]
    if NOT_REQUIRED.issuperset(failed):
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
    require_public_docs()
    document = _openapi_json()
    etag = compute_etag(document)
    return not_modified_response(etag, REVALIDATE) or add_cache_headers(json_response(document), etag, REVALIDATE)


def _openapi_json() -> bytes:
    """Return the OpenAPI document as JSON. Encoded once per process."""
    return _encode_openapi(current_app.extensions["api"])


@cache
def _encode_openapi(api: Any) -> bytes:
    return msgspec.json.encode(api.spec.to_dict())
