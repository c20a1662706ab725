"""The demo storefront, at / if STREAMSVC_STOREFRONT is on."""

from pathlib import Path

from flask import Response

from streamsvc.http.edge import Blueprint
from streamsvc.http.etags import add_cache_headers, compute_etag, not_modified_response
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.security.authentication import public
from streamsvc.settings import current_settings

bp = Blueprint("storefront", __name__, description="The demo storefront.")
BLUEPRINTS = (bp,)
STATIC_FILES = Path(__file__).parent.parent / "pages" / "static"
CONTENT_TYPES = {
    "storefront.html": "text/html; charset=utf-8",
    "storefront.css": "text/css; charset=utf-8",
    "storefront.js": "text/javascript; charset=utf-8",
}
REVALIDATE = "public, no-cache"
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
    " form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
)


@bp.route("/")
@public
@bp.errors(NotFound)
@bp.response(200, {"type": "string"}, content_type="text/html", description="An HTML page.")
def get_storefront() -> Response:
    """Show the demo storefront.

    404 unless `STREAMSVC_STOREFRONT` is on. The page loads nothing from other hosts.
    """
    return _static_response("storefront.html")


@bp.route("/storefront/<name>")
@public
@bp.etag
@bp.response(200, {"type": "string"}, content_type="*/*", description="The file.")
def get_storefront_file(name: str) -> Response:
    """Retrieve a file of the storefront."""
    return _static_response(name)


def _static_response(name: str) -> Response:
    """Respond with a file of the storefront. Raises NotFound for an unknown name or if the storefront is off."""
    if name not in CONTENT_TYPES or not current_settings().storefront:
        raise NotFound
    body = (STATIC_FILES / name).read_bytes()
    etag = compute_etag(body)
    response = not_modified_response(etag, REVALIDATE) or add_cache_headers(
        Response(body, content_type=CONTENT_TYPES[name]), etag, REVALIDATE
    )
    response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    return response
