"""Sends text messages through an HTTP gateway of the operator: one signed POST.

The body is {"id", "to", "text"}; the headers sign it as the Standard Webhooks specification says. Any 2xx status means
that the gateway took the message.
"""

import json

from streamsvc.gateways.calls import send_request
from streamsvc.gateways.peers import CallFailed, Peer
from streamsvc.rules.webhooks import sign_message

PEER = Peer("sms", deadline_s=10, worker_limit=1)


def send_sms(url: str, secret: str, message_id: str, to: str, text: str, timestamp: int) -> None:
    """Hand one message to the gateway. Raises CallFailed if it did not confirm; it may have taken it all the same."""
    body = json.dumps({"id": message_id, "to": to, "text": text}, separators=(",", ":")).encode()
    headers = {
        "Content-Type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": sign_message([secret], message_id, timestamp, body),
    }
    response = send_request(PEER, "POST", url, body, headers)
    if not 200 <= response.status < 300:
        raise CallFailed(f"the SMS gateway: {response.status}")
