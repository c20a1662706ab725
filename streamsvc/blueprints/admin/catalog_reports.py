"""GET /v1/admin/coverage, /v1/admin/catalog-exports/{format}."""

from flask import Response, stream_with_context

from streamsvc import clock
from streamsvc.http.edge import Blueprint
from streamsvc.operations.catalog import exporting
from streamsvc.operations.catalog.browse import coverage
from streamsvc.rules.inputs import PageInput
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.schemas.admin.catalog import Coverage, PageOfTitlesWithIssue
from streamsvc.schemas.base import PageQuery
from streamsvc.security.access import operator_only
from streamsvc.settings import current_settings

bp = Blueprint("admin catalog", __name__, url_prefix="/v1/admin", description="Catalogue coverage and exports.")


@bp.route("/coverage")
@operator_only("catalog")
@bp.response(200, Coverage)
def get_coverage() -> dict:
    """Retrieve the coverage report.

    Lists each issue with its count and its first titles.
    """
    return coverage.coverage_report(clock.now())


@bp.route("/coverage/<code>")
@bp.arguments(PageQuery, location="query")
@operator_only("catalog")
@bp.response(200, PageOfTitlesWithIssue)
def list_titles_with_issue(query: PageInput, code: str) -> dict:
    """List the titles, episodes or extras with an issue of the coverage report."""
    if code not in coverage.STATEMENTS:
        raise NotFound
    return coverage.list_titles_with_issue(code, query, clock.now())


@bp.route("/catalog-exports/<form>")
@operator_only("catalog")
@bp.response(200, {"type": "string"}, content_type="application/x-ndjson", description="One title per line: `ndjson`.")
@bp.alt_response(200, schema={"type": "object"}, content_type="application/json", description="One document: `roku`.")
@bp.alt_response(200, schema={"type": "object"}, content_type="application/ld+json", description="`schema.org`.")
@bp.alt_response(200, schema={"type": "string"}, content_type="application/rss+xml", description="Media RSS: `mrss`.")
def export_catalog(form: str) -> Response:
    """Export the catalogue.

    Responds with a streamed file.
    """
    if form not in exporting.EXPORTERS:
        raise NotFound
    chunks = exporting.EXPORTERS[form](current_settings())
    return Response(stream_with_context(chunks), content_type=exporting.EXPORT_MEDIA_TYPES[form])
