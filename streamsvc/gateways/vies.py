"""The Commission's register of VAT numbers (VIES), asked over its REST interface. No redirect is followed."""

import http.client
import json
import urllib.error
import urllib.request
from typing import NamedTuple

from flask import current_app

TIMEOUT_S = 10
MOST_READ_BYTES = 64 * 1024
TOLD = (None, "VALID", "INVALID")
"""What `userError` says where the member state really answered."""


class Answer(NamedTuple):
    """`valid` None where nobody could tell; `reference` is the consultation's number, for a later audit."""

    valid: bool | None
    reference: str | None = None


class _Unmoved(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args):
        return None


def ask(number: str, requester: str) -> Answer:
    """Whether the number is in the register today. Both numbers begin with the letters of their country."""
    body = {
        "countryCode": number[:2],
        "vatNumber": number[2:],
        "requesterMemberStateCode": requester[:2],
        "requesterNumber": requester[2:],
    }
    url = current_app.extensions["settings"].vies_url + "/check-vat-number"
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    try:
        with urllib.request.build_opener(_Unmoved).open(request, timeout=TIMEOUT_S) as response:
            return _read(json.loads(response.read(MOST_READ_BYTES)))
    except (OSError, http.client.HTTPException, ValueError):  # urllib's errors are OSErrors, bad JSON a ValueError
        return Answer(None)


def _read(told) -> Answer:
    if not isinstance(told, dict) or not isinstance(told.get("valid"), bool) or told.get("userError") not in TOLD:
        return Answer(None)
    return Answer(told["valid"], told.get("requestIdentifier") or None)
