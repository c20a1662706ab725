"""Manifests that are served by this service, without the variants that the viewer may not watch."""

import logging
import math
from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple
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


class _Fetched(NamedTuple):
    """The manifest of a live stream, its URL, and the token that was presented with its claims."""

    text: str
    url: str
    item_id: str
    token: str
    claims: dict[str, Any]

    def is_allowed(self, height: int | None, target: str) -> bool:
        path = urlsplit(target).path
        pattern = current_settings().media_height_pattern
        return allows_height(self.claims, height, canonical_path(path) or path, pattern)


def load_master_playlist(stream_id: str, tokens: Iterable[str], hands_token_on: bool, now: datetime) -> str:
    """Return the HLS master playlist of a live stream, without the variants above its picture height.

    One of the `tokens` must be valid. `hands_token_on`: whether the URLs of the media servers get it too. Raises
    GrantInvalid, GrantForbids, NotFound, ManifestInvalid, ManifestUnavailable.
    """
    fetched = _fetch_manifest(stream_id, tokens, media.HLS, now)
    query = "?" + urlencode({"grant": fetched.token})

    def add_token(target: str) -> str:
        parts = urlsplit(target)
        return target + query if parts.hostname in fetched.claims["hosts"] and not parts.query else target

    rewrite_url = add_token if hands_token_on else str
    try:
        filtered = filter_master_playlist(fetched.text, fetched.url, fetched.is_allowed, rewrite_url)
    except InvalidPlaylist as error:
        log.warning("the manifest of %s is not a playlist: %s", fetched.item_id, error)
        raise ManifestInvalid from None
    return _require_variants(filtered)


def load_dash_manifest(stream_id: str, tokens: Iterable[str], now: datetime) -> str:
    """Return the DASH manifest of a live stream, without the representations above its picture height.

    Raises what `load_master_playlist` does.
    """
    from streamsvc.rules.playback.dash_manifests import InvalidManifest, filter_dash_manifest  # see there

    fetched = _fetch_manifest(stream_id, tokens, media.DASH, now)
    hosts = {*fetched.claims["hosts"], urlsplit(fetched.url).hostname}
    try:
        filtered = filter_dash_manifest(fetched.text, fetched.url, fetched.is_allowed, hosts.__contains__)
    except InvalidManifest as error:
        log.warning("the DASH manifest of %s is not valid: %s", fetched.item_id, error)
        raise ManifestInvalid from None
    return _require_variants(filtered)


def _require_variants(filtered: str | None) -> str:
    if filtered is None:
        raise GrantForbids(detail="This title has no variant within the picture height of your plan.")
    return filtered


def _fetch_manifest(stream_id: str, tokens: Iterable[str], kind: str, now: datetime) -> _Fetched:
    """Fetch the media server's manifest of a live stream for whoever presents a valid token of it."""
    settings = current_settings()
    keys = playback_tokens.media_keys(settings.secret_key)
    decoded = ((token, playback_tokens.decode_claims(token, keys)) for token in tokens)
    valid = ((token, c) for token, c in decoded if c and c["sub"] == stream_id and not is_expired(c, now))
    token, claims = next(valid, ("", {}))
    stream = streams.find_stream(claims["account"], stream_id, now) if claims else None
    if stream is None or streams.stream_end_reason(stream, now):
        raise GrantInvalid
    playable = items.find_playable(stream.item_id)
    url = media.find_media_url(playable, kind) if playable else None
    if url is None or not media.is_filtered(kind, url):
        raise NotFound
    return _Fetched(_fetch(url, stream, now), url, stream.item_id, token, claims)


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
