"""DRM licences: what the player sends to a licence server to decrypt an item, online or offline."""

from datetime import datetime
from typing import Any

from streamsvc.operations.playback.playables import Playable
from streamsvc.rules.playback import drm, stream_rules
from streamsvc.rules.refusals.playback import DownloadsNotInPlan
from streamsvc.rules.refusals.requests import Invalid
from streamsvc.security.license_messages import encode_license_message
from streamsvc.settings import current_settings


def require_downloadable(playable: Playable, max_height: int | None, entitlements: dict[str, Any]) -> None:
    """Raise DownloadsNotInPlan, or Invalid if the item has no key that an offline licence could be for."""
    if not entitlements["downloads"]:
        raise DownloadsNotInPlan
    if current_settings().drm is None or not drm.allowed_keys(playable.drm_keys, max_height):
        raise Invalid(errors={"offline": ["Must be false: there is no offline licence for this item."]})


def issue_license(
    stream_id: str,
    playable: Playable,
    max_height: int | None,
    offline: bool,
    playable_until: datetime | None,
    now: datetime,
) -> dict | None:
    """Return what a player needs to get a licence, as in DrmOut; None without keys or without STREAMSVC_DRM.

    With the proxy, the URLs are those of this service, and the player gets no token.
    """
    settings = current_settings()
    provider, keys = settings.drm, drm.allowed_keys(playable.drm_keys, max_height)
    if provider is None or not keys:
        return None
    expires_at, urls = now + stream_rules.STREAM_TTL, drm.license_urls(keys, provider)
    response: dict[str, Any] = {"license_urls": urls, "expires_at": expires_at}
    if "fairplay" in urls and provider.fairplay_certificate_url:
        response["fairplay_certificate_url"] = provider.fairplay_certificate_url
    if provider.proxy:
        own, query = f"{settings.public_url}/v1/playback/{stream_id}/license", "?offline=true" if offline else ""
        return response | {"license_urls": {system: f"{own}/{system}{query}" for system in urls}}
    message = drm.license_message(keys, provider, offline, playable_until, now, expires_at)
    return response | {"token": encode_license_message(message, provider.com_key)}
