"""Forwards the requests of players' DRM modules to the operator's licence server.

What the server's status means is Axinom's: 200 a licence, 400 and 403 none for this player, 500 an error, with the
reason in `X-AxDRM-ErrorMessage`; a PlayReady server says 500 whatever is wrong. Source: docs.axinom.com, DRM quick
start, "Troubleshooting". The SOAP action is that of Microsoft's PlayReady licence acquisition.
"""

import logging
from typing import NamedTuple

from streamsvc.gateways.calls import send_request
from streamsvc.gateways.peers import CallFailed, CallNotMade, Peer
from streamsvc.rules.playback.drm import System

PEER = Peer("license_server", deadline_s=5)
MAX_LICENSE_BYTES = 256 * 1024
BUSY_RETRY_AFTER_S = 2
BINARY_HEADERS = {"Content-Type": "application/octet-stream"}
PLAYREADY_HEADERS = {
    "Content-Type": "text/xml; charset=utf-8",
    "SOAPAction": '"http://schemas.microsoft.com/DRM/2007/03/protocols/AcquireLicense"',
}
log = logging.getLogger("streamsvc.playback")


class LicenseServerUnavailable(Exception):
    """The licence server does not respond as it should, or is not called for now."""

    def __init__(self, why: str, retry_after_s: float = BUSY_RETRY_AFTER_S) -> None:
        super().__init__(why)
        self.retry_after_s = retry_after_s


class LicenseRefused(Exception):
    """The licence server issues no licence for this request."""


class LicenseMessage(NamedTuple):
    """The signed message that entitles to a licence, and the header in which the licence server expects it."""

    header: str
    token: str


def request_license(url: str, system: System, challenge: bytes, message: LicenseMessage) -> bytes:
    """Return the licence for a DRM module's challenge. Raises LicenseRefused, LicenseServerUnavailable.

    Redirects are not followed.
    """
    denials = {400, 403, 500} if system == "playready" else {400, 403}
    headers = (PLAYREADY_HEADERS if system == "playready" else BINARY_HEADERS) | {message.header: message.token}
    try:
        response = send_request(
            PEER,
            "POST",
            url,
            challenge,
            headers,
            max_bytes=MAX_LICENSE_BYTES,
            is_failure=lambda status: status != 200 and status not in denials,
        )
    except CallNotMade as error:
        raise LicenseServerUnavailable(str(error), error.retry_after_s) from None
    except CallFailed as error:
        raise LicenseServerUnavailable(str(error)) from None
    if response.status in denials:
        why = response.headers.get("X-AxDRM-ErrorMessage", "")[:300]
        log.warning("the %s licence server refused a licence: %s %r", system, response.status, why)
        raise LicenseRefused(str(response.status))
    if response.status != 200 or not 0 < len(response.body) < MAX_LICENSE_BYTES:
        raise LicenseServerUnavailable(f"status {response.status}, {len(response.body)} bytes")
    return response.body
