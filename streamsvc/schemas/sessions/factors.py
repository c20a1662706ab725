"""Schemas of two-factor authentication."""

from marshmallow import fields

from streamsvc.schemas.base import Moment, Pattern, StrictSchema
from streamsvc.schemas.sessions.sessions import TokenRotation


class TotpCode(TokenRotation):
    code = Pattern("[0-9]{6}", "Must be six digits.", max_length=6, required=True)


class TotpStatus(StrictSchema):
    active = fields.Boolean(required=True)
    since = Moment(required=True, allow_none=True)
    recovery_codes_left = fields.Integer(required=True)


class TotpSecret(StrictSchema):
    secret = fields.String(required=True, metadata={"description": "Base32, for an authenticator app."})
    otpauth_uri = fields.String(required=True, metadata={"description": "The secret as a URI, for a QR code."})


class RecoveryCodes(StrictSchema):
    recovery_codes = fields.List(fields.String(), required=True, metadata={"description": "Returned only once."})


class TotpConfirmed(RecoveryCodes):
    sometimes_absent = ("token",)
    token = fields.String(metadata={"description": "The new session token. Only with `rotate`."})
