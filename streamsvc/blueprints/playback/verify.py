"""GET /v1/playback/verify: the question that nginx's `auth_request` asks before it hands out a segment."""

from urllib.parse import parse_qs, urlsplit

from flask import current_app, request

from streamsvc import clock
from streamsvc.http.edge import Blueprint
from streamsvc.rules.playback.tokens import allows_path, is_expired
from streamsvc.rules.refusals.playback import GrantForbids, GrantInvalid
from streamsvc.schemas.playback.playback import VerifyQuery
from streamsvc.security import playback_tokens
from streamsvc.security.authentication import public

bp = Blueprint("playback verify", __name__, url_prefix="/v1/playback", description="For media servers.")

GRANT_COOKIE = "playback_grant"
ORIGINAL_URI_HEADERS = ("X-Original-URI", "X-Forwarded-Uri")
"""Where nginx, and where Caddy and Traefik, say what the viewer asked them for."""


@bp.route("/verify")
@public
@bp.arguments(VerifyQuery, location="query")
@bp.response(204)
def verify_playback_token(query):
    """204 where the grant is signed by us, not expired, and opens the path asked for; else 401 or 403.

    The grant comes as a bearer token, in the cookie `playback_grant`, or as `grant` in the query of what was asked
    for; that comes in `X-Original-URI` or `X-Forwarded-Uri`. Asks no database: a stream that was stopped is shut out
    when its last grant expires.
    """
    target = urlsplit(next((request.headers[name] for name in ORIGINAL_URI_HEADERS if name in request.headers), ""))
    token = query["grant"] or _request_token(target.query)
    claims = token and playback_tokens.decode_claims(
        token, playback_tokens.media_keys(current_app.extensions["settings"].secret_key)
    )
    if not claims or is_expired(claims, clock.now()):
        raise GrantInvalid
    if target.path and not allows_path(claims, target.path):
        raise GrantForbids


def _request_token(query: str) -> str | None:
    scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return bearer.strip()
    return request.cookies.get(GRANT_COOKIE) or parse_qs(query).get("grant", [None])[0]
