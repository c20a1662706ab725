"""Request and response bodies of the sandbox."""

from marshmallow import fields

from streamsvc.schemas.base import Email, Moment, PageQuery, PrefixedId, StrictSchema, Text


class ClockIn(StrictSchema):
    now = Moment(required=True)


class ClockOut(StrictSchema):
    sometimes_absent = ("jobs_run",)
    now = Moment(required=True)
    jobs_run = fields.Integer(metadata={"description": "Number of jobs that fell due on the way."})


class AccountClockOut(StrictSchema):
    now = Moment(required=True, metadata={"description": "The time of the account's billing."})
    target = Moment(required=True, metadata={"description": "Where the last move leads."})
    status = fields.Function(
        lambda state: "advancing" if state.is_advancing else "ready",
        metadata={"type": "string", "enum": ["advancing", "ready"]},
    )
    progress_percent = fields.Integer(required=True, metadata={"description": "How much of the last move is done."})
    jobs_run = fields.Integer(required=True, metadata={"description": "Number of jobs that the last move has run."})


class EmailQuery(PageQuery):
    to = Email(load_default=None)


class EmailOut(StrictSchema):
    id = PrefixedId("eml", required=True)
    to = fields.String(required=True)
    kind = fields.String(required=True)
    subject = fields.String(required=True)
    text = fields.String(required=True)
    html = fields.String(allow_none=True)
    sent_at = Moment(required=True)


class SmsQuery(PageQuery):
    to = Text(max_length=20, load_default=None)


class SmsOut(StrictSchema):
    id = PrefixedId("sms", required=True)
    to = fields.String(required=True)
    kind = fields.String(required=True)
    text = fields.String(required=True)
    sent_at = Moment(required=True)
