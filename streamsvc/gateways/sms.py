"""Sends text messages through an HTTP gateway of the operator: one signed POST, with a deadline for all of it.

The body is {"id", "to", "text"}; the headers sign it as the Standard Webhooks specification says. Any 2xx status means
that the gateway took the message.
"""

import json
import socket
import threading
import urllib.parse
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPSConnection

from streamsvc.gateways.calls import CallFailed
from streamsvc.rules.webhooks import sign_message

DEADLINE_S = 10.0


def send_sms(url: str, secret: str, message_id: str, to: str, text: str, timestamp: int) -> None:
    """Hand one message to the gateway. Raises CallFailed if it did not confirm; it may have taken it all the same."""
    body = json.dumps({"id": message_id, "to": to, "text": text}, separators=(",", ":")).encode()
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "streamsvc",
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": sign_message([secret], message_id, timestamp, body),
    }
    parts = urllib.parse.urlsplit(url)
    connect = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = connect(parts.hostname or "", parts.port, timeout=DEADLINE_S)
    is_over = threading.Event()
    deadline = threading.Timer(DEADLINE_S, _abort, [connection, is_over])
    deadline.daemon = True
    try:
        deadline.start()
        connection.request("POST", (parts.path or "/") + (f"?{parts.query}" if parts.query else ""), body, headers)
        status = connection.getresponse().status
    except (OSError, HTTPException, ValueError, AttributeError) as error:
        raise CallFailed(f"the SMS gateway: {type(error).__name__}") from None
    finally:
        deadline.cancel()
        connection.close()
    if is_over.is_set():  # what was read until then looks like a complete response
        raise CallFailed("the SMS gateway: deadline exceeded")
    if not 200 <= status < 300:
        raise CallFailed(f"the SMS gateway: {status}")


def _abort(connection: HTTPConnection, is_over: threading.Event) -> None:
    """End the connection: a timeout of a socket bounds each read, and a slow response has many."""
    is_over.set()
    with suppress(OSError, AttributeError):
        connection.sock.shutdown(socket.SHUT_RDWR)
