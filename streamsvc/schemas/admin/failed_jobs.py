"""Schemas of failed jobs."""

from typing import get_args

from marshmallow import fields

from streamsvc.rules.jobs import Lane
from streamsvc.schemas.base import Bool, Choice, Moment, OneOf, PageQuery, PrefixedId, StrictSchema, Text
from streamsvc.schemas.names import Message

LANES = get_args(Lane)


class FailedJobQuery(PageQuery):
    kind = Text(load_default=None)
    lane = Choice(*LANES, load_default=None)
    failed_since = Moment(load_default=None)
    failed_before = Moment(load_default=None)


class FailedJobOut(StrictSchema):
    id = PrefixedId("job")
    kind = fields.String()
    lane = OneOf(*LANES)
    payload = fields.Dict(metadata={"description": "Members that may be secrets or private are `[hidden]`."})
    attempts = fields.Integer()
    last_error = fields.String(allow_none=True)
    run_at = Moment(metadata={"description": "When the last attempt was due."})
    failed_at = Moment()


class JobOut(StrictSchema):
    """A job in the audit log: neither its payload nor its error, which may contain personal data."""

    id = PrefixedId("job")
    kind = fields.String()
    lane = OneOf(*LANES)
    attempts = fields.Integer()
    run_at = Moment()
    failed_at = Moment(allow_none=True)


class FailedJobSelection(StrictSchema):
    kind = Text(load_default=None, allow_none=True)
    lane = Choice(*LANES, load_default=None, allow_none=True)
    failed_since = Moment(load_default=None, allow_none=True)
    failed_before = Moment(load_default=None, allow_none=True)
    reason = Message(max_length=300, required=True, metadata={"description": "Why, for the audit log."})
    dry_run = Bool(load_default=False, metadata={"description": "Only count the jobs."})


class FailedJobChange(StrictSchema):
    jobs = fields.Integer(
        required=True,
        metadata={"description": "How many jobs were changed, or would be: 1,000 at most."},
    )
    remaining = fields.Integer(required=True, metadata={"description": "How many more match. Repeat the request."})
    dry_run = fields.Boolean(required=True)
