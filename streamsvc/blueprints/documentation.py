"""The documentation at /docs, unless STREAMSVC_DOCS is off: its pages, their search, and the API reference."""

import secrets
from functools import cache
from pathlib import Path

import flask_swagger_ui
import msgspec
from flask import Response, render_template, send_from_directory

from streamsvc.http.edge import Blueprint
from streamsvc.http.etags import add_cache_headers, compute_etag, not_modified_response
from streamsvc.pages import documentation
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.security.access import public
from streamsvc.settings import current_settings

bp = Blueprint(
    "documentation",
    __name__,
    template_folder="../pages/templates",
    description="The documentation and the API reference.",
)
BLUEPRINTS = (bp,)
SWAGGER_UI_FILES = Path(flask_swagger_ui.__file__).parent / "dist"
FILES = Path(documentation.__file__).parent / "static" / "docs"
CONTENT_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", **documentation.IMAGES}
HTML = "text/html; charset=utf-8"
CACHE_ONE_DAY = "public, max-age=86400"
REVALIDATE = "public, no-cache"
API_REFERENCE, SEARCH_ENTRIES = "reference", "search.json"
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'none'; frame-ancestors 'none'; base-uri 'none'; require-trusted-types-for 'script'"
)


@bp.route("/docs")
@public
@bp.etag
@bp.response(200, {"type": "string"}, content_type="text/html", description="An HTML page.")
def get_docs() -> Response:
    """Show the documentation's index.

    It links to the API reference. The pages load nothing from other hosts.
    """
    require_public_docs()
    return _cached_response(_render_page(documentation.INDEX), HTML)


@bp.route("/docs/<path:name>")
@public
@bp.etag
@bp.response(200, {"type": "string"}, content_type="*/*", description="The page or the file.")
def get_docs_file(name: str) -> Response:
    """Retrieve a page of the documentation, the API reference, or a file of theirs."""
    require_public_docs()
    if name == API_REFERENCE:
        return _api_reference()
    if name in documentation.load_pages() and name != documentation.INDEX:
        return _cached_response(_render_page(name), HTML)
    if name == SEARCH_ENTRIES:
        return _cached_response(_encode_search_entries(), "application/json")
    path = (documentation.FOLDER if Path(name).suffix in documentation.IMAGES else FILES) / name
    if "/" not in name and path.suffix in CONTENT_TYPES and path.is_file():
        return _cached_response(path.read_bytes(), CONTENT_TYPES[path.suffix])
    response = send_from_directory(SWAGGER_UI_FILES, name, conditional=False)  # a 412 would have no problem document
    response.headers["Cache-Control"] = CACHE_ONE_DAY
    return response


def require_public_docs() -> None:
    """Raise NotFound if `STREAMSVC_DOCS` is off."""
    if not current_settings().docs:
        raise NotFound


def _cached_response(body: bytes, content_type: str) -> Response:
    etag = compute_etag(body)
    response = not_modified_response(etag, REVALIDATE) or add_cache_headers(
        Response(body, content_type=content_type), etag, REVALIDATE
    )
    response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    return response


@cache
def _render_page(name: str) -> bytes:
    """Render a page with its frame. Once per process."""
    page = documentation.load_pages()[name]
    root, html = "", documentation.render_page(page)
    if name == documentation.INDEX:  # whose links lead down from /docs
        root, html = "docs/", html.replace('href="', 'href="docs/')
    return render_template(
        "documentation.html",
        page=page,
        content=html,
        root=root,
        home="docs" if root else "../docs",
        groups=documentation.list_groups(),
    ).encode()


@cache
def _encode_search_entries() -> bytes:
    return msgspec.json.encode(documentation.list_search_entries())


def _api_reference() -> Response:
    """Respond with Swagger UI, which sets styles of its own."""
    nonce = secrets.token_urlsafe(16)
    page = Response(render_template("docs.html", nonce=nonce), content_type=HTML)
    page.headers["Content-Security-Policy"] = (
        f"default-src 'none'; script-src 'self' 'nonce-{nonce}'; style-src 'self' 'unsafe-inline';"
        " img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'"
    )
    return page
