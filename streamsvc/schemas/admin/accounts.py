"""Schemas of accounts and the audit log for operators."""

from typing import Any

from marshmallow import ValidationError, fields, validates_schema

from streamsvc.schemas.base import (
    Bool,
    Choice,
    Country,
    Email,
    Language,
    Moment,
    PageQuery,
    PrefixedId,
    StrictSchema,
    Text,
    TimeZone,
)
from streamsvc.schemas.names import Message, Name
from streamsvc.schemas.sessions.accounts import AccountOut


class AccountQuery(PageQuery):
    email = Email(load_default=None)
    q = Text(
        max_length=100,
        load_default=None,
        metadata={
            "description": "Part of an email address or name, the id of an account, profile, subscription, invoice or "
            "payment, an invoice's number, a card's last four digits, or an app store's id of an account, a purchase "
            "or a payment, such as `GPA.3372-…`."
        },
    )

    @validates_schema
    def check_clues(self, data: dict, **kwargs: Any) -> None:
        if data.get("email") and data.get("q"):
            raise ValidationError("Must not be combined with email.", "q")


class AdminAccount(AccountOut):
    status = Choice("active", "disabled", "deleted", required=True)
    status_reason = fields.String(required=True, allow_none=True)
    disabled_until = Moment(required=True, allow_none=True)
    erase_at = Moment(
        required=True,
        allow_none=True,
        metadata={"description": "When a deleted account is erased; restorable until then."},
    )


class ImportedAccount(StrictSchema):
    """An account from another system, with the password hash in that system's format."""

    email = Email(required=True)
    email_verified = Bool(load_default=False)
    password_hash = Text(
        max_length=500,
        load_default=None,
        allow_none=True,
        metadata={
            "description": "An argon2, bcrypt, scrypt or PBKDF2 hash, or marked MD5 or SHA-1: see docs/sign-in.md."
        },
    )
    country = Country(required=True)
    time_zone = TimeZone(load_default="UTC")
    locale = Language(load_default="en")
    name = Name(max_length=100, load_default=None, allow_none=True)


class AdminAccountPatch(StrictSchema):
    status = Choice("active", "disabled", required=True)
    reason = Message(max_length=300, load_default=None, allow_none=True)
    until = Moment(load_default=None, allow_none=True, metadata={"description": "When the account is enabled again."})


class AuditQuery(PageQuery):
    account_id = Text(max_length=64, load_default=None)
    action = Text(max_length=64, load_default=None)
    object_id = Text(max_length=300, load_default=None)
    object_type = Text(max_length=64, load_default=None)

    @validates_schema
    def check_object(self, data: dict, **kwargs: Any) -> None:
        if data.get("object_type") and not data.get("object_id"):
            raise ValidationError("object_type requires object_id.", "object_type")


class AuditEventOut(StrictSchema):
    seq = fields.Integer(required=True)
    at = Moment(required=True)
    action = fields.String(required=True)
    account_id = PrefixedId("acc", required=True, allow_none=True)
    actor = fields.String(required=True, allow_none=True)
    object_type = fields.String(required=True, allow_none=True)
    object_id = fields.String(required=True, allow_none=True)
    details = fields.Dict(
        required=True,
        allow_none=True,
        metadata={
            "description": "Of a change by an operator: `object`, its `old` and `new` members that changed, "
            "`amount_minor`, `currency`, `reason`. Null once erased."
        },
    )
    details_digest = fields.String(required=True)
    previous = fields.String(required=True)
    hash = fields.String(required=True)


class AuditChainState(StrictSchema):
    """The state of the hash chain.

    `first_break` is the first row that was changed, removed or inserted, null if the chain is intact.
    """

    rows = fields.Integer(required=True)
    head = fields.String(required=True, allow_none=True)
    first_break = fields.Integer(required=True, allow_none=True)
