"""Checks the signatures of webhooks, which follow the Standard Webhooks specification."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

TOLERANCE_S = 300


class WebhookError(ValueError):
    """The request is not a webhook of the service, or too old: respond with 400, and do nothing else."""


def verify_webhook(
    secrets: str | Sequence[str], headers: Mapping[str, str], body: bytes, tolerance_s: float = TOLERANCE_S
) -> dict[str, Any]:
    """Return the event in the body (`type`, `timestamp` and `data`), once its signature is checked.

    `secrets`: the endpoint's (`whsec_…`), or several while one is replaced. `body`: the bytes as they were received.
    `tolerance_s`: by how many seconds the webhook's time may differ from the clock here. Raises WebhookError.
    """
    sent = {name.lower(): value for name, value in headers.items()}
    try:
        message_id, timestamp = sent["webhook-id"], sent["webhook-timestamp"]
        given = sent["webhook-signature"].split()
        age_s = abs(time.time() - int(timestamp))
    except (KeyError, ValueError):
        raise WebhookError("a header is missing or malformed") from None
    if age_s > tolerance_s:
        raise WebhookError("the timestamp is too far from the clock")
    signed = f"{message_id}.{timestamp}.".encode() + body
    own = [_sign(secret, signed) for secret in ([secrets] if isinstance(secrets, str) else secrets)]
    pairs = [(each.encode(), signature.encode()) for each in given for signature in own]
    if not any([hmac.compare_digest(*pair) for pair in pairs]):
        raise WebhookError("no signature matches")
    event = json.loads(body)
    if not isinstance(event, dict):
        raise WebhookError("the body is not an event")
    return event


def _sign(secret: str, signed: bytes) -> str:
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except binascii.Error:
        raise ValueError("the secret is not base64") from None
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
