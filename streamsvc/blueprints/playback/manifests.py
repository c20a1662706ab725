"""GET /v1/playback/{stream}/master.m3u8 and /manifest.mpd: manifests with the variants that the viewer may watch."""

from flask import Response, request

from streamsvc import clock
from streamsvc.http.edge import Blueprint
from streamsvc.operations.playback import manifests
from streamsvc.rules.playback.inputs import GrantInput
from streamsvc.rules.refusals.playback import GrantForbids, GrantInvalid, ManifestInvalid, ManifestUnavailable
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.schemas.playback.playback import VerifyQuery
from streamsvc.security.access import public

HLS_MEDIA_TYPE = "application/vnd.apple.mpegurl"
DASH_MEDIA_TYPE = "application/dash+xml"

bp = Blueprint(
    "playback manifests",
    __name__,
    url_prefix="/v1/playback",
    description="Manifests without the variants that a viewer may not watch.",
)


@bp.route("/<stream_id>/master.m3u8")
@public
@bp.arguments(VerifyQuery, location="query")
@bp.errors(GrantForbids, GrantInvalid, ManifestInvalid, ManifestUnavailable, NotFound)
@bp.response(200, {"type": "string"}, content_type=HLS_MEDIA_TYPE)
def get_master_playlist(query: GrantInput, stream_id: str) -> Response:
    """Retrieve the HLS master playlist of a stream.

    With `STREAMSVC_FILTER_MANIFESTS`, its URL is in the response to the start of playback. It is the media server's
    playlist without variants above the stream's `max_height`, with absolute URLs. The stream's playback token is read
    from `grant`, or from the bearer token. Players that send no header get the token in the URLs of their media server
    as well. 403 `grant_forbids` if no variant is left, 502 `manifest_invalid` if the media server's response is not a
    playlist, 503 `manifest_unavailable` if it does not respond.
    """
    tokens, sends_headers = _presented_tokens(query)
    playlist = manifests.load_master_playlist(stream_id, tokens, not sends_headers, clock.now())
    return Response(playlist, content_type=HLS_MEDIA_TYPE)


@bp.route("/<stream_id>/manifest.mpd")
@public
@bp.arguments(VerifyQuery, location="query")
@bp.errors(GrantForbids, GrantInvalid, ManifestInvalid, ManifestUnavailable, NotFound)
@bp.response(200, {"type": "string"}, content_type=DASH_MEDIA_TYPE)
def get_dash_manifest(query: GrantInput, stream_id: str) -> Response:
    """Retrieve the DASH manifest of a stream.

    With `STREAMSVC_FILTER_MANIFESTS`, its URL is in the response to the start of playback. It is the media server's
    manifest without representations above the stream's `max_height`, with an absolute base URL. The stream's playback
    token is read from `grant`, or from the bearer token; players send it to the media servers themselves. 403
    `grant_forbids` if no video is left, 502 `manifest_invalid` if the media server's response is not a manifest, or one
    with parts or media elsewhere, 503 `manifest_unavailable` if it does not respond.
    """
    tokens, _ = _presented_tokens(query)
    return Response(manifests.load_dash_manifest(stream_id, tokens, clock.now()), content_type=DASH_MEDIA_TYPE)


def _presented_tokens(query: GrantInput) -> tuple[list[str], bool]:
    """Return the tokens in the query and in the header, and whether the player sends headers.

    A player that asks for a live manifest again has its first token in the query and its latest in the header.
    """
    scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
    sends_headers = scheme.lower() == "bearer"
    return [token for token in (query["grant"], bearer.strip() if sends_headers else None) if token], sends_headers
