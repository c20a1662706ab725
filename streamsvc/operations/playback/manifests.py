"""Master playlists that are served by this service, without the variants that the viewer may not watch."""

import logging
import math
from datetime import datetime
from typing import Any
from urllib.parse import urlencode, urlsplit

from streamsvc.gateways.media_origin import OriginFailed, OriginUnavailable, fetch_manifest
from streamsvc.operations.playback import items, media, streams
from streamsvc.operations.playback.grants import issue_token
from streamsvc.rules.playback.master_playlists import InvalidPlaylist, filter_master_playlist
from streamsvc.rules.playback.media_paths import canonical_path
from streamsvc.rules.playback.stream_rules import STREAM_TTL
from streamsvc.rules.playback.tokens import allows_height, is_expired
from streamsvc.rules.refusals.playback import GrantForbids, GrantInvalid, ManifestInvalid, ManifestUnavailable
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.security import playback_tokens
from streamsvc.settings import current_settings

log = logging.getLogger("streamsvc.playback")


def load_filtered_manifest(stream_id: str, token: str | None, hands_token_on: bool, now: datetime) -> str:
    """Return the HLS master playlist of a live stream, without the variants above its picture height.

    `hands_token_on`: whether the URLs of the media servers get the token too. Raises GrantInvalid, GrantForbids,
    NotFound, ManifestInvalid, ManifestUnavailable.
    """
    settings = current_settings()
    claims = token and playback_tokens.decode_claims(token, playback_tokens.media_keys(settings.secret_key))
    if not claims or claims["sub"] != stream_id or is_expired(claims, now):
        raise GrantInvalid
    stream = streams.find_stream(claims["account"], stream_id, now)
    if stream is None or streams.stream_end_reason(stream, now):
        raise GrantInvalid
    playable = items.find_playable(stream.item_id) if settings.filter_manifests else None
    url = media.find_media_url(playable, media.HLS) if playable else None
    if url is None:
        raise NotFound
    text = _fetch(url, stream, now)
    query = "?" + urlencode({"grant": token})

    def is_allowed(height: int | None, target: str) -> bool:
        path = urlsplit(target).path
        return allows_height(claims, height, canonical_path(path) or path, settings.media_height_pattern)

    def add_token(target: str) -> str:
        parts = urlsplit(target)
        return target + query if parts.hostname in claims["hosts"] and not parts.query else target

    try:
        filtered = filter_master_playlist(text, url, is_allowed, add_token if hands_token_on else str)
    except InvalidPlaylist as error:
        log.warning("the manifest of %s is not a playlist: %s", stream.item_id, error)
        raise ManifestInvalid from None
    if filtered is None:
        raise GrantForbids(detail="This title has no variant within the picture height of your plan.")
    return filtered


def _fetch(url: str, stream: Any, now: datetime) -> str:
    """Fetch a manifest with a token of the stream that is not bound to the viewer's network.

    Addresses in the catalogue must be public, so that whoever edits it cannot make the service call internal ones, nor
    other ports of its own hosts.
    """
    settings = current_settings()
    own_hosts = {urlsplit(own).netloc for own in (settings.public_url, settings.media_url)}
    own_token = issue_token(stream.id, stream, None, now + STREAM_TTL)
    try:
        return fetch_manifest(url, own_token, public_only=urlsplit(url).netloc not in own_hosts)
    except OriginFailed as error:
        log.warning("the manifest of %s could not be fetched: %s", stream.item_id, error)
        raise ManifestInvalid from None
    except OriginUnavailable as error:
        raise ManifestUnavailable(retry_after_s=math.ceil(error.retry_after_s)) from None
