"""The demo storefront, at / if STREAMSVC_STOREFRONT is on."""

from pathlib import Path

from flask import Response

from streamsvc.gateways.payments.browser import browser_sources
from streamsvc.http.edge import Blueprint
from streamsvc.http.etags import add_cache_headers, compute_etag, not_modified_response
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.security.authentication import public
from streamsvc.settings import Settings, current_settings

bp = Blueprint("storefront", __name__, description="The demo storefront.")
BLUEPRINTS = (bp,)
STATIC_FILES = Path(__file__).parent.parent / "pages" / "static"
CONTENT_TYPES = {
    "storefront.html": "text/html; charset=utf-8",
    "storefront.css": "text/css; charset=utf-8",
    "storefront.js": "text/javascript; charset=utf-8",
    "payment.js": "text/javascript; charset=utf-8",
}
REVALIDATE = "public, no-cache"
CONTENT_SECURITY_POLICY = {
    "default-src": ("'none'",),
    "script-src": ("'self'",),
    "style-src": ("'self'",),
    "img-src": ("'self'", "data:"),
    "connect-src": ("'self'",),
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
    return _static_response("storefront.html")


@bp.route("/storefront/<name>")
@public
@bp.etag
@bp.response(200, {"type": "string"}, content_type="*/*", description="The file.")
def get_storefront_file(name: str) -> Response:
    """Retrieve a file of the storefront."""
    return _static_response(name)


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
    for name, sources in browser_sources(settings).items():
        directives.setdefault(name, []).extend(sources)
    return "; ".join(f"{name} {' '.join(sources)}" for name, sources in directives.items())


def _static_response(name: str) -> Response:
    """Respond with a file of the storefront. Raises NotFound for an unknown name or if the storefront is off."""
    if name not in CONTENT_TYPES or not current_settings().storefront:
        raise NotFound
    body = (STATIC_FILES / name).read_bytes()
    etag = compute_etag(body)
    response = not_modified_response(etag, REVALIDATE) or add_cache_headers(
        Response(body, content_type=CONTENT_TYPES[name]), etag, REVALIDATE
    )
    response.headers["Content-Security-Policy"] = content_security_policy(current_settings())
    return response
