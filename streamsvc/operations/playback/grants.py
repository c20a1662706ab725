"""What a player needs to fetch the media of its stream: the playback token, and the signed URLs and cookies of CDNs."""

import logging
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from streamsvc.operations.playback.media import decode_scope, manifest_views
from streamsvc.operations.playback.playables import Playable
from streamsvc.rules.playback import stream_rules
from streamsvc.rules.playback.grant_cookies import is_in_domain
from streamsvc.rules.playback.media_paths import paths_on_host
from streamsvc.rules.playback.signers import MediaSigner
from streamsvc.rules.playback.signers.base import MediaAccess, MediaCookie
from streamsvc.rules.playback.tokens import PlaybackToken, bind_network
from streamsvc.security import playback_tokens
from streamsvc.settings import current_settings

log = logging.getLogger("streamsvc.playback")


def issue_grant(
    stream_id: str, stream: Any, playable: Playable | None, address: str | None, now: datetime
) -> tuple[dict, list[dict]]:
    """Return a new grant for a stream (a StreamRequest or a row), and its item's manifests, signed.

    The grant is {token, expires_at}, with `cookies` if a signer of one of the manifests' hosts has any. Without a
    `playable` there are no manifests.
    """
    expires_at = now + stream_rules.STREAM_TTL
    token = issue_token(stream_id, stream, address, expires_at)
    grant = {"token": token, "expires_at": expires_at}
    manifests = manifest_views(playable, stream_id, token) if playable else []
    if not current_settings().media_signers:
        return grant, manifests
    network = bind_network(address, current_settings().grant_network)
    scope = decode_scope(stream.media_scope)
    signed: list[dict] = []
    cookies: dict[tuple, dict] = {}
    for manifest in manifests:
        host = urlsplit(manifest["url"]).hostname or ""
        access = MediaAccess(paths_on_host(scope.paths, host), network, now, expires_at)
        url, found = _sign_manifest(manifest["url"], host, access)
        signed.append(manifest | {"url": url})
        cookies |= {(cookie["name"], cookie["domain"], cookie["path"]): cookie for cookie in found}
    return (grant | {"cookies": list(cookies.values())} if cookies else grant), signed


def issue_token(stream_id: str, stream: Any, address: str | None, expires_at: datetime) -> str:
    """Return a new playback token for a stream (a StreamRequest or a row), for the network of an address, if any."""
    settings = current_settings()
    token = PlaybackToken(
        stream_id,
        stream.account_id,
        stream.profile_id,
        stream.item_id,
        stream.country,
        decode_scope(stream.media_scope),
        stream.max_height,
        bind_network(address, settings.grant_network),
        expires_at,
    )
    return playback_tokens.encode_token(token, playback_tokens.media_keys(settings.secret_key))


def _sign_manifest(url: str, host: str, access: MediaAccess) -> tuple[str, list[dict]]:
    """Return the signed URL and its cookies. A URL that cannot be signed stays as it is, so its CDN refuses it."""
    signer = next((signer for signer in current_settings().media_signers if signer.host == host), None)
    if signer is None:
        return url, []
    limited = signer.limit_access(access)
    try:
        return signer.sign_url(url, limited), [_cookie_view(c, signer) for c in signer.sign_cookies(url, limited)]
    except ValueError as error:
        log.warning("a media URL on %s could not be signed: %s", host, error)
        return url, []


def _cookie_view(cookie: MediaCookie, signer: MediaSigner) -> dict:
    shared = current_settings().grant_cookie_domain
    domain = shared if shared and is_in_domain(signer.host, shared) else signer.host
    return cookie._asdict() | {"domain": domain}
