"""GET /v1/playback/verify: the subrequest of nginx's `auth_request` before it serves a segment."""

from urllib.parse import parse_qs

from flask import request

from streamsvc import clock
from streamsvc.blueprints.playback.grant_cookies import GRANT_COOKIE
from streamsvc.http.edge import Blueprint
from streamsvc.http.hot_reads import hot_read
from streamsvc.operations.playback.stopped_streams import is_stopped
from streamsvc.rules.playback.tokens import allows_address, allows_host, allows_path, is_expired
from streamsvc.rules.refusals.playback import GrantForbids, GrantInvalid, OriginalUriMissing
from streamsvc.schemas.playback.playback import VerifyQuery
from streamsvc.security import playback_tokens
from streamsvc.security.access import public
from streamsvc.settings import current_settings

bp = Blueprint(
    "playback verification",
    __name__,
    url_prefix="/v1/playback",
    description="Playback token verification for media servers.",
)

ORIGINAL_URI_HEADERS = ("X-Original-URI", "X-Forwarded-Uri")
"""The headers in which nginx, and Caddy and Traefik, pass the URI that the viewer requested."""
ORIGINAL_HOST_HEADERS = ("X-Original-Host", "X-Forwarded-Host")
NO_HOST: list[str | None] = [None]
HOST_MISSING = (
    "This playback token does not allow access to this path on each of its hosts; send the host in X-Original-Host."
)


@bp.route("/verify")
@hot_read
@public
@bp.arguments(VerifyQuery, location="query")
@bp.errors(GrantForbids, GrantInvalid, OriginalUriMissing)
@bp.response(204)
def verify_playback_token(query: dict) -> None:
    """Verify the playback token of a media request.

    204 if the token is valid, its stream has not been stopped, and it allows the path, the host and the client's
    address. 401 `grant_invalid`, 400 `original_uri_missing` or 403 `grant_forbids` otherwise. The requested URI is read
    from `X-Original-URI` or `X-Forwarded-Uri`, the host from `X-Original-Host` or `X-Forwarded-Host` if it is sent; if
    both are, since one may be the viewer's own, both must be allowed. Without a host, a token of media on several hosts
    allows only what it allows on all of them. The token is read from `grant` in this request's
    query, the bearer token, the cookie `playback_grant`, or `grant` in the query of the requested URI. The database is
    read once a second at most, for the streams that were stopped.
    """
    uris = _list_headers(ORIGINAL_URI_HEADERS)
    token = query["grant"] or request_token(uris[0].partition("?")[2] if uris else "")
    require_media_access(token, uris, _list_headers(ORIGINAL_HOST_HEADERS))


def require_media_access(token: str | None, uris: list[str], hosts: list[str]) -> None:
    """Require that a playback token opens the URIs, as requested on the hosts if they are known.

    Raises GrantInvalid, OriginalUriMissing, GrantForbids.
    """
    settings, now = current_settings(), clock.now()
    claims = token and playback_tokens.decode_claims(token, playback_tokens.media_keys(settings.secret_key))
    if not claims or is_expired(claims, now) or is_stopped(claims["sub"], now):
        raise GrantInvalid
    if not uris:
        raise OriginalUriMissing
    if not all(allows_host(claims, host) for host in hosts):
        raise GrantForbids
    paths, pattern = [uri.partition("?")[0] for uri in uris], settings.media_height_pattern
    if not all(allows_path(claims, path, pattern, host) for path in paths for host in hosts or NO_HOST):
        raise GrantForbids(detail=None if hosts or len(claims["hosts"]) == 1 else HOST_MISSING)
    if not allows_address(claims, request.remote_addr):
        raise GrantForbids


def _list_headers(names: tuple[str, ...]) -> list[str]:
    return [request.headers[name] for name in names if name in request.headers]


def request_token(query: str) -> str | None:
    """Return the token of this request: the bearer token, the cookie, or the one in the query of the media's URL."""
    scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return bearer.strip()
    return request.cookies.get(GRANT_COOKIE) or parse_qs(query).get("grant", [None])[0]
