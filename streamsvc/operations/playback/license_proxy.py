"""The proxy before the licence servers: a live stream's own player gets the keys that its viewer may have."""

import math
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from streamsvc.gateways.license_server import (
    LicenseMessage,
    LicenseRefused,
    LicenseServerUnavailable,
    request_license,
)
from streamsvc.operations.catalog.reading.audience import stream_viewer_facts
from streamsvc.operations.playback import items, licenses, streams
from streamsvc.operations.playback.items import Playable
from streamsvc.rules import rate_limits as limits
from streamsvc.rules.geography import Origin
from streamsvc.rules.playback import drm, stream_rules
from streamsvc.rules.playback.access import AccessDecision, decide_access
from streamsvc.rules.refusals.playback import LicenseDenied, LicenseUnavailable, StreamEnded
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.security import rate_limits
from streamsvc.security.license_messages import encode_license_message
from streamsvc.security.viewers import Viewer
from streamsvc.settings import current_settings

MESSAGE_TTL = timedelta(minutes=1)
"""How long the licence server accepts a message: longer than the call takes, for clocks that differ."""


def proxy_license(
    viewer: Viewer, origin: Origin, stream_id: str, system_name: str, challenge: bytes, offline: bool, now: datetime
) -> bytes:
    """Return a licence for the challenge of the player that started a stream, after deciding access again.

    Raises NotFound, StreamEnded, the access refusal, DownloadsNotInPlan, Invalid, TooManyAttempts, LicenseDenied,
    LicenseUnavailable.
    """
    stream, playable, access = _require_licensable(viewer, origin, stream_id, now)
    max_height = stream_rules.allowed_height(viewer.entitlements["max_height"], stream.max_height)
    if offline:
        licenses.require_downloadable(playable, max_height, viewer.entitlements)
    provider, system = current_settings().drm, drm.find_system(system_name)
    if provider is None or not provider.proxy or system not in provider.license_urls:
        raise NotFound
    keys = drm.keys_of_system(drm.allowed_keys(playable.drm_keys, max_height), system)
    if not keys:
        raise NotFound
    rate_limits.hit(limits.LICENSES_BY_ACCOUNT, viewer.account_id)
    claims = drm.license_message(keys, provider, offline, access.ends_at, now, now + MESSAGE_TTL)
    token = encode_license_message(drm.single_use(claims, str(uuid4())), provider.com_key)
    message = LicenseMessage(provider.message_header, token)
    try:
        return request_license(provider.license_urls[system], system, challenge, message)
    except LicenseRefused:
        raise LicenseDenied from None
    except LicenseServerUnavailable as error:
        raise LicenseUnavailable(retry_after_s=math.ceil(error.retry_after_s)) from None


def _require_licensable(
    viewer: Viewer, origin: Origin, stream_id: str, now: datetime
) -> tuple[Any, Playable, AccessDecision]:
    """Return a live stream of the viewer's session, its item, and the decision that it may be played.

    Raises NotFound, StreamEnded, or the access refusal.
    """
    stream = streams.find_stream(viewer.account_id, stream_id, now)
    if stream is None or stream.session_id != viewer.row.session_id:
        raise NotFound
    if reason := streams.stream_end_reason(stream, now):
        raise StreamEnded(reason=reason)
    playable, facts = items.find_playable(stream.item_id), stream_viewer_facts(viewer, origin, stream.profile_id)
    if playable is None:
        raise StreamEnded(reason=stream_rules.TITLE_REMOVED)
    access = decide_access(playable.facts_for(facts), facts, now)
    if access.reason:
        raise stream_rules.access_refusal(access.reason, facts)
    return stream, playable, access
