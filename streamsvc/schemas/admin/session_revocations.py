"""Schemas of the end of every session at once."""

from marshmallow import fields

from streamsvc.schemas.base import Bool, StrictSchema
from streamsvc.schemas.names import Message


class NewSessionRevocation(StrictSchema):
    reason = Message(max_length=300, required=True, metadata={"description": "Why, for the audit log."})
    dry_run = Bool(load_default=False, metadata={"description": "Only count the sessions that would end."})


class SessionRevocation(StrictSchema):
    sessions = fields.Integer(
        required=True, metadata={"description": "The live sessions that were counted just before."}
    )
    dry_run = fields.Boolean(required=True)
