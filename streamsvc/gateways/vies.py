"""Client of VIES, the European Commission's register of VAT numbers. Redirects are not followed."""

import json
import re
from typing import Any, NamedTuple

from streamsvc.gateways.calls import fetch_json, send_request
from streamsvc.gateways.peers import CallFailed, Peer
from streamsvc.settings import current_settings

PEER = Peer("vies", deadline_s=10)
MAX_RESPONSE_BYTES = 64 * 1024
CONCLUSIVE_RESULTS = (None, "", "VALID", "INVALID", "INVALID_INPUT")
"""Values of `userError` when the member state, or VIES for a number that cannot be, has actually answered."""
NO_RESPONSE = "NO_RESPONSE"
"""Our own code for a call that failed, timed out, or got something that is not an answer of VIES."""


class VatCheck(NamedTuple):
    """The result of a check.

    `is_valid` is None if it could not be determined, and `error` is then the reason, such as MS_UNAVAILABLE;
    `reference` is the consultation number, for audits.
    """

    is_valid: bool | None
    reference: str | None = None
    error: str | None = None


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
    try:
        response = send_request(
            PEER,
            "POST",
            url,
            json.dumps(body).encode(),
            headers,
            max_bytes=MAX_RESPONSE_BYTES,
            is_failure=lambda _: False,  # an error may be that of a single member state
        )
        document = json.loads(response.body)
    except (CallFailed, ValueError, RecursionError):
        return VatCheck(None, error=NO_RESPONSE)
    return _parse_response(document) if 200 <= response.status < 300 else _parse_error(document)


def is_available() -> bool:
    """Ask VIES whether it is available, whatever its member states are. Raises CallFailed."""
    document = fetch_json(PEER, current_settings().vies_url + "/check-status")
    vow = document.get("vow")
    return isinstance(vow, dict) and vow.get("available") is True


def _parse_response(document: Any) -> VatCheck:
    """Parse an answer. VIES reports its failures both as `userError` and, with HTTP 200 too, as `errorWrappers`."""
    if not isinstance(document, dict):
        return VatCheck(None, error=NO_RESPONSE)
    wrappers = document.get("errorWrappers")
    if document.get("actionSucceed") is False or wrappers:
        return _parse_error_code(wrappers)
    user_error = document.get("userError")
    if not isinstance(document.get("valid"), bool) or user_error not in CONCLUSIVE_RESULTS:
        return VatCheck(None, error=user_error if _is_code(user_error) else NO_RESPONSE)
    return VatCheck(document["valid"], document.get("requestIdentifier") or None)


def _parse_error(document: Any) -> VatCheck:
    return _parse_error_code(document.get("errorWrappers") if isinstance(document, dict) else None)


def _parse_error_code(wrappers: Any) -> VatCheck:
    """Return the result for the first error; INVALID_INPUT says that the number has a wrong format."""
    first = wrappers[0] if isinstance(wrappers, list) and wrappers else None
    code = first.get("error") if isinstance(first, dict) else None
    if code == "INVALID_INPUT":
        return VatCheck(False)
    return VatCheck(None, error=code if _is_code(code) else NO_RESPONSE)


def _is_code(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch("[A-Z_]{1,60}", value) is not None
