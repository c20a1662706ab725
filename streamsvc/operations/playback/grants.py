"""What a player needs to fetch the media of its stream: the playback token, and the signed URLs and cookies of CDNs."""

import logging
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from streamsvc.operations.playback.media import decode_scope
from streamsvc.rules.playback import stream_rules
from streamsvc.rules.playback.grant_cookies import is_in_domain
from streamsvc.rules.playback.signers import MediaSigner
from streamsvc.rules.playback.signers.base import MediaAccess, MediaCookie
from streamsvc.rules.playback.tokens import PlaybackToken, bind_network
from streamsvc.security import playback_tokens
from streamsvc.settings import current_settings

log = logging.getLogger("streamsvc.playback")


def issue_grant(
    stream_id: str, stream: Any, manifests: list[dict], address: str | None, now: datetime
) -> tuple[dict, list[dict]]:
    """Return a new grant for a stream (a StreamRequest or a row), and its manifests, signed.

    The grant is {token, expires_at}, with `cookies` if a signer of one of the manifests' hosts has any.
    """
    settings = current_settings()
    expires_at = now + stream_rules.STREAM_TTL
    scope, network = decode_scope(stream.media_scope), bind_network(address, settings.grant_network)
    token = PlaybackToken(
        stream_id,
        stream.account_id,
        stream.profile_id,
        stream.item_id,
        stream.country,
        scope,
        stream.max_height,
        network,
        expires_at,
    )
    keys = playback_tokens.media_keys(settings.secret_key)
    grant = {"token": playback_tokens.encode_token(token, keys), "expires_at": expires_at}
    access = MediaAccess(scope.paths, network, now, expires_at)
    signed: list[dict] = []
    cookies: dict[tuple, dict] = {}
    for manifest in manifests:
        url, found = _sign_manifest(manifest["url"], access)
        signed.append(manifest | {"url": url})
        cookies |= {(cookie["name"], cookie["domain"], cookie["path"]): cookie for cookie in found}
    return (grant | {"cookies": list(cookies.values())} if cookies else grant), signed


def _sign_manifest(url: str, access: MediaAccess) -> tuple[str, list[dict]]:
    """Return the signed URL and its cookies. A URL that cannot be signed stays as it is, so its CDN refuses it."""
    host = urlsplit(url).hostname or ""
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
