"""Request and response bodies of the sandbox."""

from marshmallow import fields

from streamsvc.schemas.base import Email, Moment, PageQuery, PrefixedId, StrictSchema, Text


class ClockIn(StrictSchema):
    now = Moment(required=True)


class ClockOut(StrictSchema):
    sometimes_absent = ("jobs_run",)
    now = Moment(required=True)
    jobs_run = fields.Integer(metadata={"description": "Number of jobs that fell due on the way."})


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
