"""Fetches manifests from the media server."""

from streamsvc.gateways.calls import send_request
from streamsvc.gateways.peers import CallFailed, CallNotMade, Peer

PEER = Peer("media_origin", deadline_s=3)
MAX_MANIFEST_BYTES = 512 * 1024
BUSY_RETRY_AFTER_S = 2


class OriginUnavailable(Exception):
    """The media server cannot be reached, or is not called for now."""

    def __init__(self, why: str, retry_after_s: float = BUSY_RETRY_AFTER_S) -> None:
        super().__init__(why)
        self.retry_after_s = retry_after_s


class OriginFailed(Exception):
    """The media server's response is not a manifest."""


def fetch_manifest(url: str, token: str, public_only: bool) -> str:
    """Fetch a manifest with a playback token. `public_only`: by https, from a public address.

    Redirects are not followed. Raises OriginUnavailable, OriginFailed.
    """
    headers = {"Authorization": f"Bearer {token}"}
    try:
        response = send_request(
            PEER, "GET", url, headers=headers, max_bytes=MAX_MANIFEST_BYTES, public_only=public_only
        )
    except CallNotMade as error:
        raise OriginUnavailable(str(error), error.retry_after_s) from None
    except CallFailed as error:
        raise OriginUnavailable(str(error)) from None
    if response.status != 200:
        raise OriginFailed(f"status {response.status}")
    if len(response.body) >= MAX_MANIFEST_BYTES:
        raise OriginFailed("too long")
    try:
        return response.body.decode()
    except UnicodeDecodeError:
        raise OriginFailed("not UTF-8") from None
