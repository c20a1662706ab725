"""POST /v1/playback/{stream}/license/{system}: DRM licences, from the operator's licence server."""

from typing import Any

from flask import Response, request

from streamsvc import clock
from streamsvc.http.edge import Blueprint
from streamsvc.http.trusted_proxies import client_origin
from streamsvc.operations.playback.license_proxy import proxy_license
from streamsvc.rules.refusals.accounts import TooManyAttempts
from streamsvc.rules.refusals.playback import (
    CountryUnknown,
    DownloadsNotInPlan,
    ExtraMediaShared,
    LicenseDenied,
    LicenseUnavailable,
    NoLongerAvailable,
    NotAvailableInCountry,
    NotInPlan,
    NotYetAvailable,
    OutsideViewingHours,
    ProfileRequired,
    StreamEnded,
    SubscriptionRequired,
    VpnNotAllowed,
)
from streamsvc.rules.refusals.requests import BodyTooLarge, Invalid, NotFound, WrongMediaType
from streamsvc.schemas.playback.playback import LicenseQuery
from streamsvc.security.access import allow_guests, allow_kids
from streamsvc.security.principals import current_viewer

MAX_CHALLENGE_BYTES = 64 * 1024
LICENSE_MEDIA_TYPE = "application/octet-stream"
CHALLENGE_MEDIA_TYPES = (LICENSE_MEDIA_TYPE, "text/xml")
CHALLENGE_BODY: dict[str, Any] = {
    "required": True,
    "content": {media: {"schema": {"type": "string", "format": "binary"}} for media in CHALLENGE_MEDIA_TYPES},
}

bp = Blueprint(
    "playback licences",
    __name__,
    url_prefix="/v1/playback",
    description="DRM licences for the players of live streams.",
)


@bp.route("/<stream_id>/license/<drm_system>", methods=["POST"])
@allow_guests
@allow_kids
@bp.arguments(LicenseQuery, location="query")
@bp.doc(requestBody=CHALLENGE_BODY)
@bp.errors(
    BodyTooLarge,
    CountryUnknown,
    DownloadsNotInPlan,
    ExtraMediaShared,
    LicenseDenied,
    LicenseUnavailable,
    NoLongerAvailable,
    NotAvailableInCountry,
    NotFound,
    NotInPlan,
    NotYetAvailable,
    OutsideViewingHours,
    ProfileRequired,
    StreamEnded,
    SubscriptionRequired,
    TooManyAttempts,
    VpnNotAllowed,
    WrongMediaType,
)
@bp.response(200, {"type": "string", "format": "binary"}, content_type=LICENSE_MEDIA_TYPE)
def acquire_license(query: dict, stream_id: str, drm_system: str) -> Response:
    """Acquire a DRM licence for a stream.

    The body is the challenge of the player's DRM module (`widevine`, `fairplay` or `playready`), of 64 KiB at most; so
    is Widevine's request for the service certificate. The response is the licence server's, byte for byte. Only the
    session that started the stream gets one, while the stream is live: 410 `stream_ended` afterwards. Access is decided
    again. 403 `license_denied` if the licence server issues no licence to this player, 503 `license_unavailable` if it
    does not respond. 404 if the item has no keys for this system.
    """
    if request.mimetype not in ("", *CHALLENGE_MEDIA_TYPES):
        raise WrongMediaType(detail=f"Send the challenge as one of {', '.join(CHALLENGE_MEDIA_TYPES)}.")
    request.max_content_length = MAX_CHALLENGE_BYTES
    challenge = request.get_data()
    if not challenge:
        raise Invalid(errors={"_": ["Must be sent as the request body."]})
    license_ = proxy_license(
        current_viewer(), client_origin(), stream_id, drm_system, challenge, query["offline"], clock.now()
    )
    return Response(license_, content_type=LICENSE_MEDIA_TYPE)
