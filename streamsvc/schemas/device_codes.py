"""Signing in a television: RFC 8628 on the wire."""

from marshmallow import fields

from streamsvc.schemas.base import Bool, Moment, StrictSchema, Text
from streamsvc.schemas.devices import DeviceNamed, NewDevice


class NewDeviceCode(StrictSchema):
    device = fields.Nested(NewDevice(), required=True)


class DeviceAuthorizationIn(StrictSchema):
    """RFC 8628, 3.1. `client_id` is taken and means nothing: there is one client, the service's own apps."""

    client_id = Text(longest=200)
    scope = Text(longest=200, shortest=0)
    device_name = Text(longest=100, load_default="A television")


class DeviceAuthorization(StrictSchema):
    device_code = fields.String(required=True)
    user_code = fields.String(required=True)
    verification_uri = fields.String(required=True)
    verification_uri_complete = fields.String(required=True)
    expires_in = fields.Integer(required=True)
    interval = fields.Integer(required=True)


class UserCode(StrictSchema):
    user_code = Text(longest=20, required=True)


class WaitingDevice(StrictSchema):
    """Shown before anybody says yes: what asks, from where, since when."""

    device = fields.Nested(DeviceNamed(), required=True)
    address = fields.String(required=True, allow_none=True)
    created_at = Moment(required=True)
    expires_at = Moment(required=True)


class Decision(StrictSchema):
    approve = Bool(required=True)


class TokenRequest(StrictSchema):
    """RFC 6749: what is missing or unknown is told in the standard's own words, so nothing is required here."""

    class Meta:
        unknown = "exclude"

    grant_type = Text(longest=200)
    device_code = Text(longest=200)
    client_id = Text(longest=200)


class TokenAnswer(StrictSchema):
    access_token = fields.String(required=True)
    token_type = fields.String(required=True)
    expires_in = fields.Integer(required=True)


class TokenError(StrictSchema):
    """RFC 6749, 5.2."""

    error = fields.String(required=True)
    error_description = fields.String(required=True)
