"""The HTTP client of Stripe's SDK: with a deadline for each request, and connections that are used again."""

import ssl
from collections.abc import Mapping
from functools import cache
from typing import Any

import stripe

from streamsvc.gateways.calls import send_request
from streamsvc.gateways.peers import CallFailed, CallNotMade, CallTimedOut, Peer

PEER = Peer("stripe", deadline_s=10, is_traced=True)
MAX_RESPONSE_BYTES = 4 * 1024 * 1024


class StripeHttpClient(stripe.HTTPClient):
    """Sends the SDK's requests through `peers`."""

    name = "aiohttp"

    def request(
        self, method: str, url: str, headers: Mapping[str, str] | None, post_data: Any = None, **_: Any
    ) -> tuple[Any, int, Mapping[str, str]]:
        """Send one request; the SDK repeats it once, unless the time is used up. Raises APIConnectionError."""
        body = post_data.encode() if isinstance(post_data, str) else post_data
        try:
            response = send_request(
                PEER,
                method.upper(),
                url,
                body,
                headers,
                max_bytes=MAX_RESPONSE_BYTES,
                keep_alive=True,
                tls=_tls_context(),
            )
        except CallFailed as error:
            is_repeated = not isinstance(error, (CallNotMade, CallTimedOut))
            raise stripe.APIConnectionError(f"Stripe: {error}", should_retry=is_repeated) from None
        return response.body, response.status, response.headers

    def close(self) -> None:
        """Do nothing: the connections are the process's."""


@cache
def _tls_context() -> ssl.SSLContext:
    """Return the context with the SDK's own certificate authorities."""
    return ssl.create_default_context(cafile=stripe.ca_bundle_path)
