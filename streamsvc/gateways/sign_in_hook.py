"""Calls of the sign-in hook: as webhooks are called, but a person is waiting for the response."""

from http import HTTPStatus

from streamsvc.gateways.calls import send_request
from streamsvc.gateways.peers import CallFailed, Peer

PEER_NAME = "sign_in_hook"
MAX_RESPONSE_BYTES = 16 * 1024


def post_hook(url: str, body: bytes, headers: dict[str, str], deadline_s: float, allow_private: bool) -> bytes:
    """Make one POST and return the body of its 200 response. Raises CallFailed."""
    response = send_request(
        Peer(PEER_NAME, deadline_s, is_traced=True),
        "POST",
        url,
        body,
        headers,
        max_bytes=MAX_RESPONSE_BYTES,
        public_only=not allow_private,
        is_failure=lambda status: status != HTTPStatus.OK,
    )
    if response.status != HTTPStatus.OK:
        raise CallFailed(f"status {response.status}")
    return response.body
