"""Webhook calls to customer-supplied URLs: no redirects, no private networks, bounded response size."""

from dataclasses import dataclass

from streamsvc.gateways.calls import send_request
from streamsvc.gateways.peers import CallFailed, CallNotMade, Peer
from streamsvc.settings import current_settings

PEER = Peer("webhooks", deadline_s=15, open_s=60, worker_limit=1)
"""One delivery at a time to each endpoint, so that one that hangs never occupies all threads of its lane."""
MAX_RESPONSE_BYTES = 64 * 1024


@dataclass(frozen=True)
class WebhookResponse:
    """The response; `status` is None if there was none, and `error` says why."""

    status: int | None
    error: str | None = None
    retry_after_s: int | None = None


def post_webhook(endpoint_id: str, url: str, body: bytes, headers: dict[str, str]) -> WebhookResponse:
    """Make one POST, to the very address that was checked: a second DNS lookup could return another.

    Raises CallNotMade.
    """
    try:
        response = send_request(
            PEER,
            "POST",
            url,
            body,
            headers,
            endpoint=endpoint_id,
            max_bytes=MAX_RESPONSE_BYTES,
            public_only=not current_settings().webhooks_to_private,
            is_failure=lambda _: False,  # whoever responds holds nobody
        )
    except CallNotMade:
        raise
    except CallFailed as error:
        return WebhookResponse(None, str(error)[:300])
    retry_after = response.headers.get("Retry-After", "")
    return WebhookResponse(response.status, None, int(retry_after) if retry_after.isdecimal() else None)
