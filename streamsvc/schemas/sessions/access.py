"""Schemas of the access history, and of what revokes access."""

from marshmallow import fields

from streamsvc.rules.sign_in.access import ACCESS_KINDS
from streamsvc.schemas.base import Moment, OneOf, StrictSchema, Text


class AccessRevocation(StrictSchema):
    token = Text(max_length=200, required=True)
    since = Moment(
        load_default=None,
        metadata={"description": "Reach further back, to a moment within the last seven days."},
    )


class AccessEntryOut(StrictSchema):
    kind = OneOf(*ACCESS_KINDS, required=True)
    id = fields.String(required=True)
    name = fields.String(required=True, allow_none=True)
    created_at = Moment(required=True)
    added_by_session_id = fields.String(
        required=True, allow_none=True, metadata={"description": "The session that added it, if one did."}
    )
    device_id = fields.String(required=True, allow_none=True, metadata={"description": "The device of a session."})
    active = fields.Boolean(required=True, metadata={"description": "Whether it still gives access; true for changes."})


class PreviewedAccess(AccessEntryOut):
    revoked = fields.Boolean(required=True, metadata={"description": "Whether it would be revoked."})


class AccessRevocationPreview(StrictSchema):
    """What using an emailed token would revoke, and what would stay."""

    since = Moment(
        required=True,
        allow_none=True,
        metadata={"description": "Everything from this moment on would be revoked. Null: nothing, or everything."},
    )
    items = fields.List(fields.Nested(PreviewedAccess), required=True)
