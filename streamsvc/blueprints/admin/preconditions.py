"""Conditional edits by operators (If-Match, If-None-Match), so that no edit overwrites an unread version."""

from flask import request

from streamsvc.rules.refusals.requests import PreconditionFailed, PreconditionRequired


def check_preconditions(etag: str | None, required: bool = False) -> None:
    """Check a request's preconditions against the current `etag`, None if the resource does not exist.

    Raises PreconditionFailed, or PreconditionRequired if `required` and the request has no If-Match.
    """
    if required and not request.if_match:
        raise PreconditionRequired
    if request.if_match and not (etag and request.if_match.contains(etag)):
        raise PreconditionFailed
    if etag and request.if_none_match.star_tag:
        raise PreconditionFailed
