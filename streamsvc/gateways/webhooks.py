"""Webhook calls to customer-supplied URLs: no redirects, no private networks, bounded response size."""

import http.client
import socket
import ssl
from dataclasses import dataclass
from urllib.parse import urlsplit

from streamsvc.rules.ip_addresses import is_public_address
from streamsvc.settings import current_settings

TIMEOUT_S = 15
MAX_RESPONSE_BYTES = 64 * 1024


@dataclass(frozen=True)
class WebhookResponse:
    """The response; `status` is None if there was none, and `error` says why."""

    status: int | None
    error: str | None = None
    retry_after_s: int | None = None


class ForbiddenAddress(Exception):
    """The URL's address must not be called."""


def post_webhook(url: str, body: bytes, headers: dict[str, str]) -> WebhookResponse:
    """Make one POST, to the very address that was checked: a second DNS lookup could return another."""
    try:
        connection, path = _connect(url)
    except (ForbiddenAddress, OSError, ValueError) as error:
        return WebhookResponse(None, str(error)[:300])
    try:
        connection.request("POST", path, body, headers)
        response = connection.getresponse()
        response.read(MAX_RESPONSE_BYTES)
        retry_after = response.headers.get("Retry-After", "")
        return WebhookResponse(response.status, None, int(retry_after) if retry_after.isdecimal() else None)
    except (OSError, http.client.HTTPException) as error:
        return WebhookResponse(None, f"{type(error).__name__}: {error}"[:300])
    finally:
        connection.close()


def _connect(url: str) -> tuple[http.client.HTTPConnection, str]:
    """Connect to the URL's host; returns (connection, request path). Raises ForbiddenAddress."""
    raw = open_socket(url, TIMEOUT_S, current_settings().webhooks_to_private)
    return prepare_connection(url, raw, TIMEOUT_S)


def open_socket(url: str, timeout_s: float, allow_private: bool) -> socket.socket:
    """Open a TCP connection to the URL's host, at the address that was checked. Raises ForbiddenAddress."""
    parts = urlsplit(url)
    if parts.scheme not in (("https", "http") if allow_private else ("https",)) or not parts.hostname:
        raise ForbiddenAddress("the URL must start with https://")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    address = _resolve_address(parts.hostname, port, allow_private)
    return socket.create_connection((address, port), timeout=timeout_s)


def prepare_connection(url: str, raw: socket.socket, timeout_s: float) -> tuple[http.client.HTTPConnection, str]:
    """Return (connection, request path) over an open socket. The first request makes the TLS handshake."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=timeout_s)
    if parts.scheme == "https":
        context = ssl.create_default_context()
        raw = context.wrap_socket(raw, server_hostname=parts.hostname, do_handshake_on_connect=False)
    connection.sock = raw
    return connection, (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _resolve_address(host: str, port: int, allow_private: bool) -> str:
    """Resolve the host. Raises ForbiddenAddress if any of its addresses is not public."""
    addresses = {str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    if not allow_private and not all(is_public_address(address) for address in addresses):
        raise ForbiddenAddress(f"{host} is not a public address")
    return sorted(addresses)[0]
