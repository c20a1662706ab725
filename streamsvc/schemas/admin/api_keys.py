"""Schemas of API keys."""

from marshmallow import fields, validate

from streamsvc.rules.roles import SCOPES
from streamsvc.schemas.base import Choice, Moment, PrefixedId, StrictSchema
from streamsvc.schemas.names import Name


class NewApiKey(StrictSchema):
    name = Name(max_length=100, required=True)
    scopes = fields.List(Choice(*SCOPES), required=True, validate=validate.Length(1, len(SCOPES)))
    expires_at = Moment(load_default=None, allow_none=True)


class ApiKeyOut(StrictSchema):
    id = PrefixedId("key", required=True)
    name = fields.String(required=True)
    scopes = fields.List(fields.String(), required=True)
    created_at = Moment(required=True)
    expires_at = Moment(required=True, allow_none=True)
    last_used_at = Moment(required=True, allow_none=True)
    revoked_at = Moment(required=True, allow_none=True)


class CreatedApiKey(ApiKeyOut):
    token = fields.String(required=True, metadata={"description": "Returned only once."})
