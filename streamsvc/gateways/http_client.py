"""HTTP requests to other services, by aiohttp: no redirects, no cookies, bounded responses.

aiohttp, because a call must end at its deadline whatever the peer does. `httpx` and `urllib3`, and so `requests` and
the Stripe SDK, have a timeout for each read, which a peer that sends a byte per second never exceeds: urllib3's `total`
counts until the response begins, and httpx has none (https://github.com/encode/httpx/issues/1450). Python's own
`http.client` is the same. In an event loop the deadline is that of the whole exchange, with the lookup of the name.

Import this module when a call is made: aiohttp takes 0.2 s to import and 12 MB of memory.
"""

import asyncio
import atexit
import ipaddress
import socket
import ssl
from collections.abc import Mapping
from contextlib import suppress

import aiohttp
from aiohttp.abc import ResolveResult
from yarl import URL

from streamsvc.rules.ip_addresses import is_public_address

DEFAULT_HEADERS = {"User-Agent": "streamsvc", "Accept": "*/*"}
CLOSE_TIMEOUT_S = 1
_sessions: dict[tuple[asyncio.AbstractEventLoop, bool], aiohttp.ClientSession] = {}


class ForbiddenAddress(OSError):
    """The URL's address must not be called."""


class BrokenExchange(OSError):
    """The peer does not speak HTTP, or its URL is invalid."""


class _PublicResolver(aiohttp.ThreadedResolver):
    """Resolves names. Raises ForbiddenAddress if any of the addresses is not public."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        results = await super().resolve(host, port, family)
        for result in results:
            require_public(host, result["host"])
        return results


def require_public(host: str, address: str) -> None:
    """Raise ForbiddenAddress unless the host's address is public."""
    if not is_public_address(address):
        raise ForbiddenAddress(f"{host} is not a public address")


async def exchange(
    method: str,
    url: str,
    body: bytes | None,
    headers: Mapping[str, str],
    max_bytes: int,
    public_only: bool = False,
    keep_alive: bool = False,
    tls: ssl.SSLContext | None = None,
) -> tuple[int, Mapping[str, str], bytes]:
    """Make one request; returns the status, the headers and up to `max_bytes` of the body.

    `public_only`: only to the public internet, and to the very addresses that were checked. Raises OSError.
    """
    headers = DEFAULT_HEADERS | dict(headers) | ({} if keep_alive else {"Connection": "close"})
    try:
        target = URL(url)
        if public_only:
            _require_public_url(target)
        async with _session(public_only).request(
            method, target, data=body, headers=headers, allow_redirects=False, ssl=tls or True
        ) as response:
            return response.status, response.headers, await _read(response, max_bytes)
    except aiohttp.ClientConnectorError as error:
        raise error.os_error from None
    except (aiohttp.ClientError, ValueError) as error:
        raise BrokenExchange(f"{type(error).__name__}: {error}") from None


async def _read(response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) >= max_bytes:
            break  # the connection is closed with the rest of the body
    return bytes(body[:max_bytes])


def _require_public_url(url: URL) -> None:
    """Raise ForbiddenAddress unless the URL is https; of an address in it, unless it is public."""
    if url.scheme != "https" or not url.host:
        raise ForbiddenAddress("the URL must start with https://")
    try:
        ipaddress.ip_address(url.host)
    except ValueError:
        return  # a name, which the resolver checks
    require_public(url.host, url.host)


def _session(public_only: bool) -> aiohttp.ClientSession:
    """Return the loop's session. For the public internet it has the checking resolver, and uses no proxy."""
    key = asyncio.get_running_loop(), public_only
    if key not in _sessions:
        _sessions[key] = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, resolver=_PublicResolver() if public_only else None),
            trust_env=not public_only,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=["Accept-Encoding"],
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),  # `event_loop` has the deadline
        )
    return _sessions[key]


@atexit.register
def _close_sessions() -> None:
    for (loop, _), session in _sessions.items():
        if loop.is_running():
            with suppress(TimeoutError):
                asyncio.run_coroutine_threadsafe(session.close(), loop).result(CLOSE_TIMEOUT_S)
