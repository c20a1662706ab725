"""The demo storefront, at / if STREAMSVC_STOREFRONT is on."""

from functools import cache
from html import escape
from pathlib import Path
from urllib.parse import urlsplit

from flask import Response

from streamsvc.gateways.payments.browser import browser_sources
from streamsvc.http.edge import Blueprint
from streamsvc.http.etags import add_cache_headers, compute_etag, not_modified_response
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.security.access import public
from streamsvc.settings import Settings, current_settings

bp = Blueprint("storefront", __name__, description="The demo storefront.")
BLUEPRINTS = (bp,)
STATIC_FILES = Path(__file__).parent.parent / "pages" / "static"
SHARED_FILES = STATIC_FILES.parent / "shared"
PAGE = "storefront.html"
CONTENT_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
}
REVALIDATE = "public, no-cache"
CONTENT_SECURITY_POLICY = {
    "default-src": ("'none'",),
    "script-src": ("'self'",),
    "style-src": ("'self'",),
    "img-src": ("'self'", "data:"),
    "connect-src": ("'self'",),
    "media-src": ("'self'", "blob:"),
    "form-action": ("'none'",),
    "frame-ancestors": ("'none'",),
    "base-uri": ("'none'",),
}
APPLE_PAY_DOMAIN_PATH = "/.well-known/apple-developer-merchantid-domain-association"


@bp.route("/")
@public
@bp.ignore_query
@bp.errors(NotFound)
@bp.response(200, {"type": "string"}, content_type="text/html", description="An HTML page.")
def get_storefront() -> Response:
    """Show the demo storefront.

    404 unless `STREAMSVC_STOREFRONT` is on. The page loads nothing from other hosts, except for Stripe's payment form
    where Stripe is configured. Its script reads the parameters with which a bank sends a customer back.
    """
    public_url = escape(current_settings().public_url)
    body = (STATIC_FILES / PAGE).read_text(encoding="utf-8").replace("{public_url}", public_url)
    return _static_response(body.encode(), "text/html; charset=utf-8")


@bp.route("/storefront/<path:name>")
@public
@bp.etag
@bp.response(200, {"type": "string"}, content_type="*/*", description="The file.")
def get_storefront_file(name: str) -> Response:
    """Retrieve a file of the storefront: a style sheet, a script, or the licence of one."""
    path = _static_files().get(name)
    if path is None:
        raise NotFound
    return _static_response(path.read_bytes(), CONTENT_TYPES[path.suffix])


@bp.route(APPLE_PAY_DOMAIN_PATH)
@public
@bp.errors(NotFound)
@bp.response(200, {"type": "string"}, content_type="text/plain", description="The file.")
def get_apple_pay_domain_file() -> Response:
    """Retrieve the file by which Apple Pay verifies this domain.

    404 unless `STREAMSVC_APPLE_PAY_DOMAIN_FILE` is set.
    """
    path = current_settings().apple_pay_domain_file
    if not path:
        raise NotFound
    return Response(Path(path).read_bytes(), content_type="text/plain; charset=utf-8")


def content_security_policy(settings: Settings) -> str:
    """Return the policy of the storefront, opened for the payment form of the configured provider and nothing else."""
    directives = {name: list(sources) for name, sources in CONTENT_SECURITY_POLICY.items()}
    for added in (browser_sources(settings), _media_sources(settings)):
        for name, sources in added.items():
            directives.setdefault(name, []).extend(sources)
    return "; ".join(f"{name} {' '.join(sources)}" for name, sources in directives.items())


def _media_sources(settings: Settings) -> dict[str, tuple[str, ...]]:
    """Return the host of the media if STREAMSVC_MEDIA_URL names one, by the directives that let a player fetch them."""
    url = urlsplit(settings.media_url)
    origin = (f"{url.scheme}://{url.netloc}",)
    return {"connect-src": origin, "media-src": origin} if url.netloc else {}


@cache
def _static_files() -> dict[str, Path]:
    """Return the files that can be requested, by their paths; the page itself has an address of its own."""
    return {
        path.relative_to(folder).as_posix(): path
        for folder in (STATIC_FILES, SHARED_FILES)
        for path in folder.rglob("*")
        if path.suffix in CONTENT_TYPES
    }


def _static_response(body: bytes, content_type: str) -> Response:
    """Respond with a part of the storefront. Raises NotFound if the storefront is off."""
    if not current_settings().storefront:
        raise NotFound
    etag = compute_etag(body)
    response = not_modified_response(etag, REVALIDATE) or add_cache_headers(
        Response(body, content_type=content_type), etag, REVALIDATE
    )
    response.headers["Content-Security-Policy"] = content_security_policy(current_settings())
    return response
