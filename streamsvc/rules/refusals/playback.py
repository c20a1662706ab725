"""Errors of the playback decision and of streams."""

from streamsvc.rules.refusals.base import Refusal
from streamsvc.rules.refusals.requests import Unavailable


class ProfileRequired(Refusal):
    code = "profile_required"
    status = 403
    detail = "Choose who is watching: PATCH /v1/sessions/current."


class SubscriptionRequired(Refusal):
    code = "subscription_required"
    status = 403
    detail = "Watching needs a subscription that is paid for."


class NotInPlan(Refusal):
    code = "not_in_plan"
    status = 403
    detail = "This title is not part of your plan."


class CountryUnknown(Refusal):
    code = "country_unknown"
    status = 403
    detail = "We cannot tell which country you are in, and this title is licensed by country."


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


class DeviceLimit(Refusal):
    """`limit`, `devices`: [{id, name, kind, first_played_at}]."""

    code = "device_limit"
    status = 409
    detail = "Your plan plays on no more devices; remove one to use another."


class StreamLimit(Refusal):
    """`limit`, `streams`: [{stream_id, …}], the oldest first; start again with one of them as `replace`."""

    code = "stream_limit"
    status = 409
    detail = "As many streams as your plan allows are playing; stop one, or replace it."


class StreamEnded(Refusal):
    """`reason`: stopped, stopped_by_viewer, replaced, taken_over, expired, signed_out, or why it may not be played."""

    code = "stream_ended"
    status = 410
    detail = "This stream is over."


class EntitlementUnavailable(Unavailable):
    code = "entitlement_unavailable"
    detail = "We cannot find out just now whether this may be played; try again shortly."


class GrantInvalid(Refusal):
    code = "grant_invalid"
    status = 401
    detail = "Send a playback grant that is still valid."

    def __init__(self):
        super().__init__(headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})


class GrantForbids(Refusal):
    code = "grant_forbids"
    status = 403
    detail = "This playback grant does not open this path."
