"""The operators' console, at /console unless STREAMSVC_CONSOLE is off: static pages over the operators' API."""

from pathlib import Path

from flask import Response

from streamsvc.http.edge import Blueprint
from streamsvc.http.etags import add_cache_headers, compute_etag, not_modified_response
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.security.access import public
from streamsvc.settings import current_settings

bp = Blueprint("console", __name__, description="The operators' console.")
BLUEPRINTS = (bp,)
FILES = Path(__file__).parent.parent / "pages" / "console"
SHARED_FILES = FILES.parent / "shared"
CONTENT_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript"}
REVALIDATE = "public, no-cache"
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'none'; frame-ancestors 'none'; base-uri 'none'; require-trusted-types-for 'script'"
)
"""Nothing is loaded from another host. Trusted Types make the browser refuse HTML from text."""


@bp.route("/console")
@public
@bp.errors(NotFound)
@bp.response(200, {"type": "string"}, content_type="text/html", description="An HTML page.")
def get_console() -> Response:
    """Show the operators' console.

    404 if `STREAMSVC_CONSOLE` is off. The page is the same for everybody: what it shows comes from the operators' API,
    which needs a sign-in.
    """
    return _file_response("console.html")


@bp.route("/console/<name>")
@public
@bp.etag
@bp.response(200, {"type": "string"}, content_type="*/*", description="The file.")
def get_console_file(name: str) -> Response:
    """Retrieve a file of the console."""
    return _file_response(name)


def _file_response(name: str) -> Response:
    """Respond with a file of the console. Raises NotFound for an unknown name or if the console is off."""
    path = next((path for folder in (FILES, SHARED_FILES) for path in folder.iterdir() if path.name == name), None)
    content_type = CONTENT_TYPES.get(path.suffix.removeprefix(".")) if path else None
    if path is None or content_type is None or not current_settings().console:
        raise NotFound
    body = path.read_bytes()
    etag = compute_etag(body)
    response = not_modified_response(etag, REVALIDATE) or add_cache_headers(
        Response(body, content_type=f"{content_type}; charset=utf-8"), etag, REVALIDATE
    )
    response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    return response
