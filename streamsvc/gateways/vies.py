"""Client of VIES, the European Commission's register of VAT numbers. Redirects are not followed."""

import http.client
import json
import urllib.error
import urllib.request
from typing import Any, NamedTuple

from streamsvc.gateways.calls import OPENER
from streamsvc.settings import current_settings

TIMEOUT_S = 10
MAX_RESPONSE_BYTES = 64 * 1024
CONCLUSIVE_RESULTS = (None, "VALID", "INVALID")
"""Values of `userError` when the member state has actually answered."""


class VatCheck(NamedTuple):
    """The result of a check.

    `is_valid` is None if it could not be determined; `reference` is the consultation number, for audits.
    """

    is_valid: bool | None
    reference: str | None = None


def check_vat_number(number: str, requester: str) -> VatCheck:
    """Check whether the number is registered today. Both numbers start with their country's letters."""
    body = {
        "countryCode": number[:2],
        "vatNumber": number[2:],
        "requesterMemberStateCode": requester[:2],
        "requesterNumber": requester[2:],
    }
    url = current_settings().vies_url + "/check-vat-number"
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    try:
        with OPENER.open(request, timeout=TIMEOUT_S) as response:
            return _parse_response(json.loads(response.read(MAX_RESPONSE_BYTES)))
    except (OSError, http.client.HTTPException, ValueError):  # urllib's errors are OSErrors, bad JSON a ValueError
        return VatCheck(None)


def _parse_response(document: Any) -> VatCheck:
    if (
        not isinstance(document, dict)
        or not isinstance(document.get("valid"), bool)
        or document.get("userError") not in CONCLUSIVE_RESULTS
    ):
        return VatCheck(None)
    return VatCheck(document["valid"], document.get("requestIdentifier") or None)
