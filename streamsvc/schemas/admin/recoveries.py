"""Schemas of recoveries for support."""

from marshmallow import fields

from streamsvc.schemas.base import Bool, Moment, PrefixedId, StrictSchema
from streamsvc.schemas.names import Message
from streamsvc.schemas.sessions.recoveries import RecoveryOut


class NewRecovery(StrictSchema):
    reason = Message(max_length=300, required=True)
    since = Moment(
        load_default=None,
        allow_none=True,
        metadata={
            "description": "When the takeover began. What is older stays, and the address of that moment is the "
            "account's again. Null: everything is revoked, and the address stays."
        },
    )
    only_older_can_cancel = Bool(
        load_default=False,
        metadata={"description": "Only sessions and addresses from before `since` can cancel the recovery."},
    )


class AdminRecovery(RecoveryOut):
    account_id = PrefixedId("acc", required=True)
    started_by = fields.String(required=True)
    reason = fields.String(required=True)
    email = fields.String(required=True, metadata={"description": "The address that gets the link to finish with."})
    only_older_can_cancel = fields.Boolean(required=True)
    canceled_by = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "A session, an operator, an API key, `link`, `superseded` or `expired`."},
    )
