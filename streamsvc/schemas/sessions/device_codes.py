"""Schemas of television sign-in by device code (RFC 8628)."""

from typing import Any

from marshmallow import EXCLUDE, fields, pre_load

from streamsvc.schemas.base import Bool, Moment, StrictSchema, Text
from streamsvc.schemas.names import Name
from streamsvc.schemas.sessions.devices import DeviceSummary, NewDevice


class NewDeviceCode(StrictSchema):
    device = fields.Nested(NewDevice(), required=True)


class OAuthForm(StrictSchema):
    """A form of an OAuth endpoint: unknown and empty parameters are ignored (RFC 6749, sections 3.1 and 3.2)."""

    class Meta:
        unknown = EXCLUDE

    @pre_load
    def drop_empty_values(self, form: dict, **_: Any) -> dict:
        return {name: value for name, value in form.items() if value}


class DeviceAuthorizationIn(OAuthForm):
    """A device authorization request (RFC 8628, section 3.1).

    `client_id` is accepted and ignored: the service's own apps are the only client.
    """

    client_id = Text(max_length=200)
    scope = Text(max_length=1000)
    device_name = Name(
        max_length=100,
        load_default="A television",
        metadata={"description": "An empty value counts as omitted (RFC 6749, section 3.1)."},
    )


class DeviceAuthorization(StrictSchema):
    device_code = fields.String(required=True)
    user_code = fields.String(required=True)
    verification_uri = fields.String(required=True)
    verification_uri_complete = fields.String(required=True)
    expires_in = fields.Integer(required=True)
    interval = fields.Integer(required=True)


class UserCode(StrictSchema):
    user_code = Text(max_length=20, required=True)


class PendingDevice(StrictSchema):
    """A device that waits for approval, with where and when its sign-in started."""

    device = fields.Nested(DeviceSummary(), required=True)
    address = fields.String(required=True, allow_none=True)
    city = fields.String(required=True, allow_none=True)
    created_at = Moment(required=True)
    expires_at = Moment(required=True)


class Decision(StrictSchema):
    approve = Bool(required=True)


class TokenRequest(OAuthForm):
    """A token request. No field is required here: the view reports missing ones with the standard's error codes."""

    grant_type = Text(max_length=200)
    device_code = Text(max_length=200)
    client_id = Text(max_length=200)


class TokenResponse(StrictSchema):
    access_token = fields.String(required=True)
    token_type = fields.String(required=True)
    expires_in = fields.Integer(required=True)


class TokenError(StrictSchema):
    """An OAuth error response (RFC 6749, section 5.2)."""

    error = fields.String(required=True)
    error_description = fields.String(required=True)
