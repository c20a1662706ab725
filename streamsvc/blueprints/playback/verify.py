"""GET /v1/playback/verify: the subrequest of nginx's `auth_request` before it serves a segment."""

from urllib.parse import parse_qs, urlsplit

from flask import request

from streamsvc import clock
from streamsvc.http.edge import Blueprint
from streamsvc.rules.playback.tokens import allows_path, is_expired
from streamsvc.rules.refusals.playback import GrantForbids, GrantInvalid
from streamsvc.schemas.playback.playback import VerifyQuery
from streamsvc.security import playback_tokens
from streamsvc.security.authentication import public
from streamsvc.settings import current_settings

bp = Blueprint(
    "playback verification",
    __name__,
    url_prefix="/v1/playback",
    description="Playback token verification for media servers.",
)

GRANT_COOKIE = "playback_grant"
ORIGINAL_URI_HEADERS = ("X-Original-URI", "X-Forwarded-Uri")
"""The headers in which nginx, and Caddy and Traefik, pass the URI that the viewer requested."""


@bp.route("/verify")
@public
@bp.arguments(VerifyQuery, location="query")
@bp.errors(GrantForbids, GrantInvalid)
@bp.response(204)
def verify_playback_token(query: dict) -> None:
    """Verify the playback token of a media request.

    204 if the token is valid, unexpired and allows the requested path; 401 `grant_invalid` or 403 `grant_forbids`
    otherwise. The token is read from `grant` in this request's query, the bearer token, the cookie `playback_grant`,
    or `grant` in the query of the requested URI, which is read from `X-Original-URI` or `X-Forwarded-Uri`. No database
    is read, so a stopped stream is refused only when its last token expires.
    """
    target = urlsplit(next((request.headers[name] for name in ORIGINAL_URI_HEADERS if name in request.headers), ""))
    token = query["grant"] or _request_token(target.query)
    claims = token and playback_tokens.decode_claims(token, playback_tokens.media_keys(current_settings().secret_key))
    if not claims or is_expired(claims, clock.now()):
        raise GrantInvalid
    if target.path and not allows_path(claims, target.path):
        raise GrantForbids


def _request_token(query: str) -> str | None:
    scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return bearer.strip()
    return request.cookies.get(GRANT_COOKIE) or parse_qs(query).get("grant", [None])[0]
