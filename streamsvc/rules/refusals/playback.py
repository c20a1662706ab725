"""Playback errors: access decisions, devices, streams and grants."""

from typing import ClassVar

from streamsvc.rules.refusals.base import Refusal
from streamsvc.rules.refusals.requests import Unavailable


class ProfileRequired(Refusal):
    code = "profile_required"
    status = 403
    detail = "Select a profile first: PATCH /v1/sessions/current."


class ProgrammeRestricted(Refusal):
    code = "programme_restricted"
    status = 403
    detail = "This profile may not watch the programme that is on now."


class ExtraMediaShared(Refusal):
    code = "extra_media_shared"
    status = 403
    detail = "This extra cannot be played: its file belongs to a film, an episode or a channel."


class OutsideViewingHours(Refusal):
    """`next_at`: when the profile's viewing hours begin."""

    code = "outside_viewing_hours"
    status = 403
    detail = "This profile may not watch at this time."
    member_schemas: ClassVar = {"next_at": {"type": "string", "format": "date-time"}}


class SubscriptionRequired(Refusal):
    code = "subscription_required"
    status = 403
    detail = "A paid subscription is required to watch."


class NotInPlan(Refusal):
    code = "not_in_plan"
    status = 403
    detail = "This title is not part of your plan."


class DownloadsNotInPlan(Refusal):
    code = "downloads_not_in_plan"
    status = 403
    detail = "Your plan has no downloads."


class CountryUnknown(Refusal):
    code = "country_unknown"
    status = 403
    detail = "We cannot determine your country, and this title is licensed by country."


class VpnNotAllowed(Refusal):
    code = "vpn_not_allowed"
    status = 403
    detail = "Turn off your VPN or proxy to watch: it hides where you are."


class NotAvailableInCountry(Refusal):
    code = "not_available_in_country"
    status = 403
    detail = "This title is not available in your country."


class NotYetAvailable(Refusal):
    code = "not_yet_available"
    status = 403
    detail = "This title is not available yet."


class NoLongerAvailable(Refusal):
    code = "no_longer_available"
    status = 403
    detail = "This title is no longer available."


class DeviceMismatch(Refusal):
    code = "device_mismatch"
    status = 403
    detail = "This session belongs to another device. A device plays in a session of its own: sign in on it."


class DeviceLimit(Refusal):
    """`limit`, `kind`, `devices`: [{id, name, kind, first_played_at}], `next_removal_at`.

    `kind`: the kind of device that the limit is for; null for all. `next_removal_at`: from when on the removal of a
    device frees its place; null: at once.
    """

    code = "device_limit"
    status = 409
    detail = "Your plan's device limit is reached; remove a device to use another one."
    member_schemas: ClassVar = {
        "limit": {"type": "integer"},
        "kind": {"type": ["string", "null"]},
        "devices": {"type": "array", "items": {"type": "object"}},
        "next_removal_at": {"type": ["string", "null"], "format": "date-time"},
    }


class StreamLimit(Refusal):
    """`limit`, `streams`: [{stream_id, …}], oldest first; send one of their ids as `replace` to take its slot."""

    code = "stream_limit"
    status = 409
    detail = "Your plan's limit of simultaneous streams is reached; stop one or replace it."
    member_schemas: ClassVar = {"limit": {"type": "integer"}, "streams": {"type": "array", "items": {"type": "object"}}}


class StreamEnded(Refusal):
    """`reason`: the code of an access error, or one of stopped, stopped_by_viewer, stopped_by_operator, replaced,
    taken_over, expired, signed_out, inactive, profile_deleted, profile_moved."""

    code = "stream_ended"
    status = 410
    detail = "This stream has ended; start playback again."
    member_schemas: ClassVar = {"reason": {"type": "string"}}


class EntitlementUnavailable(Unavailable):
    code = "entitlement_unavailable"
    detail = "We cannot verify your entitlement right now; try again shortly."


class GrantInvalid(Refusal):
    code = "grant_invalid"
    status = 401
    detail = "Send a valid playback token."

    def __init__(self) -> None:
        super().__init__(headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})


class GrantForbids(Refusal):
    code = "grant_forbids"
    status = 403
    detail = "This playback token does not allow access to this path."


class LicenseDenied(Refusal):
    code = "license_denied"
    status = 403
    detail = "The licence server issues no licence to this player; its device may be too insecure for this title."


class LicenseUnavailable(Unavailable):
    code = "license_unavailable"
    detail = "The licence server does not respond; try again shortly."


class ManifestInvalid(Refusal):
    code = "manifest_invalid"
    status = 502
    detail = "The media server did not return a valid manifest."


class ManifestUnavailable(Unavailable):
    code = "manifest_unavailable"
    detail = "The media server does not respond; try again shortly."


class OriginalUriMissing(Refusal):
    code = "original_uri_missing"
    status = 400
    detail = "Send the requested URI in the header X-Original-URI or X-Forwarded-Uri."
