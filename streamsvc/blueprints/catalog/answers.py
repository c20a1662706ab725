"""How the catalogue answers: ready JSON under a strong ETag that is known before the catalogue is read."""

from collections.abc import Callable

from flask import Response, request

from streamsvc.etags import etag_of, stamped, unchanged
from streamsvc.operations.catalog import state
from streamsvc.operations.catalog.audience import Audience
from streamsvc.web import json_response

KEPT = "private, no-cache"
"""A browser keeps the answer and asks each time whether it still holds: a profile may have changed in between."""


def answer(audience: Audience, make: Callable[[state.Known], str], *more) -> Response:
    """304 where the client has this very answer, else what `make` gives as JSON. `more` is what else it depends on."""
    moment = state.moment()
    etag = etag_of(moment, audience, request.full_path, *more)
    return unchanged(etag, KEPT) or stamped(json_response(make(state.known(moment[0])).encode()), etag, KEPT)
