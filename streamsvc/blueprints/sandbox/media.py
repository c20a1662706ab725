"""/media: the demo's videos, for whoever has the playback token that nginx would ask for.

A title without a video of its own is played a stand-in, whose master playlist says so (`streamsvc.stand-in`).
"""

import re
from contextlib import suppress
from functools import cache
from pathlib import Path
from urllib.parse import quote

from flask import Response, request
from werkzeug.exceptions import RequestedRangeNotSatisfiable

from streamsvc.blueprints.playback.verify import request_token, require_media_access
from streamsvc.http.edge import Blueprint
from streamsvc.http.etags import add_cache_headers, compute_etag
from streamsvc.operations.maintenance.demo import MEDIA, MEDIA_PATH, STAND_IN
from streamsvc.rules.playback.inputs import GrantInput
from streamsvc.rules.refusals.playback import GrantForbids, GrantInvalid, OriginalUriMissing
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.schemas.playback.playback import VerifyQuery
from streamsvc.security.access import public
from streamsvc.settings import current_settings

bp = Blueprint("demo media", __name__, url_prefix="/media", description="The demo's videos.")

CACHE = "private, max-age=3600"
TYPES = {
    ".m3u8": "application/vnd.apple.mpegurl",
    ".mp4": "video/mp4",
    ".vtt": "text/vtt; charset=utf-8",
}
_URI_LINE = re.compile(r"^(?!#)(\S+)$", re.M)
_URI_ATTRIBUTE = re.compile(r'(URI=")([^"]+)"')


@bp.route("/<path:name>")
@public
@bp.arguments(VerifyQuery, location="query")
@bp.etag
@bp.errors(GrantForbids, GrantInvalid, NotFound, OriginalUriMissing)
@bp.alt_response(206, schema={"type": "string", "format": "binary"}, content_type="*/*", description="A part of it.")
@bp.response(200, {"type": "string", "format": "binary"}, content_type="*/*", description="The file.")
def get_demo_media(query: GrantInput, name: str) -> Response:
    """Retrieve a file of the demo's videos.

    Only in the sandbox, with the storefront on; everywhere else a media server serves the media. It needs the playback
    token that `GET /v1/playback/verify` would require for this path, and checks it in the same way. In a playlist that
    is requested with `?grant=…`, all URLs get that token, for players that send no header. Supports `Range`.
    """
    path = find_demo_file(name) if current_settings().storefront else None
    if path is None:
        raise NotFound
    token = query["grant"] or request_token("")
    require_media_access(token, [quote(f"/media/{name}")], [])
    if path.suffix == ".m3u8" and query["grant"]:
        response = Response(add_token(path.read_text(encoding="utf-8"), query["grant"]))
        response.headers["Cache-Control"] = "no-store"
    else:
        response = _file_response(path)
    response.headers["Content-Type"] = TYPES[path.suffix]
    return response


def _file_response(path: Path) -> Response:
    """Respond with a file, or with the part that the request asks for; with all of it if there is no such part."""
    body = path.read_bytes()
    response = add_cache_headers(Response(body), compute_etag(body), CACHE)
    with suppress(RequestedRangeNotSatisfiable):
        response.make_conditional(request, accept_ranges=True, complete_length=len(body))
    return response


def find_demo_file(name: str) -> Path | None:
    """Return the file behind a path below `/media/`: a demo video's, else the stand-in's for any other item."""
    folder, _, rest = name.partition("/")
    if f"/media/{folder}/" == MEDIA_PATH:
        return demo_files().get(rest)
    return demo_files().get(f"{STAND_IN}/{rest}")


@cache
def demo_files() -> dict[str, Path]:
    """Return the files of the demo's videos by their paths; nothing else can be requested."""
    return {str(path.relative_to(MEDIA)): path for path in MEDIA.rglob("*") if path.suffix in TYPES}


def add_token(playlist: str, token: str) -> str:
    """Return a playlist of relative URLs with a playback token in each."""
    query = f"?grant={quote(token)}"
    playlist = _URI_ATTRIBUTE.sub(lambda match: f'{match[1]}{match[2]}{query}"', playlist)
    return _URI_LINE.sub(lambda match: match[1] + query, playlist)
