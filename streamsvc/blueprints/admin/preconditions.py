"""If-Match and If-None-Match on what operators edit: nobody overwrites what they have not read."""

from flask import request

from streamsvc.rules.refusals.requests import PreconditionFailed, PreconditionRequired


def check_preconditions(etag: str | None, required: bool = False) -> None:
    """Refuse a change of something else than what the client read; `etag` is None where there is nothing yet.

    Raises PreconditionRequired where the client must say what it read and does not, PreconditionFailed otherwise.
    """
    if required and not request.if_match:
        raise PreconditionRequired
    if request.if_match and not (etag and request.if_match.contains(etag)):
        raise PreconditionFailed
    if etag and request.if_none_match.star_tag:
        raise PreconditionFailed
