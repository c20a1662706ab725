"""Schemas of recoveries that support starts, as their owner sees them."""

from streamsvc.schemas.base import Moment, OneOf, PrefixedId, StrictSchema, Text
from streamsvc.schemas.sessions.accounts import Password


class RecoveryOut(StrictSchema):
    id = PrefixedId("rcv", required=True)
    status = OneOf("waiting", "ready", "completed", "canceled", "expired", required=True)
    since = Moment(
        required=True,
        allow_none=True,
        metadata={"description": "What was added from this moment on will be revoked. Null: everything."},
    )
    created_at = Moment(required=True)
    ready_at = Moment(
        required=True, metadata={"description": "The end of the waiting time, when the link to finish with is mailed."}
    )
    expires_at = Moment(required=True)
    canceled_at = Moment(required=True, allow_none=True)
    completed_at = Moment(required=True, allow_none=True)


class RecoveryCompletion(StrictSchema):
    token = Text(max_length=200, required=True)
    password = Password(required=True)
