"""Schemas of the deliveries of security events."""

from typing import get_args

from marshmallow import fields

from streamsvc.rules.security_events import EndReason, Factor, RecoveryMethod
from streamsvc.schemas.admin.webhooks import EventData, event_schema
from streamsvc.schemas.base import Moment, OneOf, StrictSchema


class SessionEventData(EventData):
    session_id = fields.String(required=True)
    device_id = fields.String(required=True)


class SessionStartedData(SessionEventData):
    device_kind = fields.String(required=True)
    new_device = fields.Boolean(
        required=True, metadata={"description": "Whether the account signs in on this device for the first time."}
    )
    method = fields.String(
        required=True,
        metadata={
            "description": "`sign_up`, `password`, `passkey`, `magic_link`, `device_code`, `impersonation`, or a "
            "provider's name."
        },
    )
    impersonated_by = fields.String(
        required=True, allow_none=True, metadata={"description": "The operator or API key of a support session."}
    )


class SessionEndedData(SessionEventData):
    reason = OneOf(*get_args(EndReason), required=True)


class SessionsRevokedData(StrictSchema):
    account_id = fields.String(required=True, allow_none=True, metadata={"description": "Always null."})
    sessions = fields.Integer(required=True)


class FactorData(EventData):
    factor = OneOf(*get_args(Factor), required=True)
    factor_id = fields.String(
        required=True, allow_none=True, metadata={"description": "The id of a passkey or of a linked identity."}
    )
    provider = fields.String(
        required=True, allow_none=True, metadata={"description": "The name of the provider, if that is the factor."}
    )


class PasswordChangedData(EventData):
    reason = OneOf("changed", "reset", "cleared", required=True)


class EmailChangedData(EventData):
    undone = fields.Boolean(
        required=True, metadata={"description": "Whether the owner of the previous address has undone a change."}
    )


class AccountRecoveredData(EventData):
    method = OneOf(*get_args(RecoveryMethod), required=True)


class AccountLockedData(EventData):
    reason = OneOf("too_many_attempts", "disabled", required=True)
    limit = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "The limit that failed attempts have exhausted, such as `sign_in.account`."},
    )
    until = Moment(
        required=True, allow_none=True, metadata={"description": "Until when an operator has disabled the account."}
    )


class AccountDeletedData(EventData):
    erase_at = Moment(
        required=True,
        allow_none=True,
        metadata={"description": "When a closed account will be erased; null once it has been."},
    )


SessionStartedEvent = event_schema("SessionStartedEvent", SessionStartedData)
SessionEndedEvent = event_schema("SessionEndedEvent", SessionEndedData)
SessionsRevokedEvent = event_schema("SessionsRevokedEvent", SessionsRevokedData)
FactorEvent = event_schema("FactorEvent", FactorData)
PasswordChangedEvent = event_schema("PasswordChangedEvent", PasswordChangedData)
EmailChangedEvent = event_schema("EmailChangedEvent", EmailChangedData)
AccountRecoveredEvent = event_schema("AccountRecoveredEvent", AccountRecoveredData)
AccountLockedEvent = event_schema("AccountLockedEvent", AccountLockedData)
AccountDeletedEvent = event_schema("AccountDeletedEvent", AccountDeletedData)
