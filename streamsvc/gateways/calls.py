"""HTTP calls to other services, through `peers`: one request, its response, JSON or text."""

import json
import ssl
from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple
from urllib.parse import urlsplit

from flask import has_request_context, request

from streamsvc.gateways.peers import CallFailed, CallRejected, Peer, make_call
from streamsvc.rules.trace_context import parse_trace_id

MAX_RESPONSE_BYTES = 512 * 1024


class Response(NamedTuple):
    """A response whose body is cut off at the limit. The names of headers have no case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def send_request(
    peer: Peer,
    method: str,
    url: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    *,
    endpoint: str = "",
    max_bytes: int = MAX_RESPONSE_BYTES,
    public_only: bool = False,
    keep_alive: bool = False,
    tls: ssl.SSLContext | None = None,
    is_failure: Callable[[int], bool] = lambda status: status >= 500,
) -> Response:
    """Send one request. The circuit is that of `endpoint`, by default the URL's host and port. Raises CallFailed."""
    from streamsvc.gateways.http_client import exchange  # imports aiohttp

    headers = {**(headers or {}), **_trace_headers(peer)}
    work = partial(exchange, method, url, body, headers, max_bytes, public_only, keep_alive, tls)
    return Response(*make_call(peer, endpoint or urlsplit(url).netloc, work, lambda result: is_failure(result[0])))


def _trace_headers(peer: Peer) -> dict[str, str]:
    """Return the `traceparent` of the current request for a peer that takes part in its trace."""
    if not (peer.is_traced and has_request_context()):
        return {}
    traceparent = request.headers.get("traceparent", "")
    return {"traceparent": traceparent} if parse_trace_id(traceparent) else {}


def fetch_json(peer: Peer, url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> dict:
    """Fetch the JSON object that a GET, or with a body a POST, returns.

    Raises CallFailed; CallRejected for a POST that gets 4xx.
    """
    raw = _fetch(peer, url, body, {"Accept": "application/json", **(headers or {})})
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise CallFailed(f"{url}: {type(error).__name__}") from None
    if not isinstance(document, dict):
        raise CallFailed(f"{url}: not an object")
    return document


def fetch_text(peer: Peer, url: str, headers: Mapping[str, str]) -> str:
    """Fetch the ASCII text that a GET returns. Raises CallFailed."""
    try:
        return _fetch(peer, url, None, headers).decode("ascii")
    except UnicodeDecodeError:
        raise CallFailed(f"{url}: not ASCII") from None


def _fetch(peer: Peer, url: str, body: bytes | None, headers: Mapping[str, str]) -> bytes:
    response = send_request(peer, "GET" if body is None else "POST", url, body, headers)
    if len(response.body) >= MAX_RESPONSE_BYTES:
        raise CallFailed(f"{url}: the response is too long")
    if 200 <= response.status < 300:
        return response.body
    if response.status < 500 and body is not None:
        raise CallRejected(str(response.status))
    raise CallFailed(f"{url}: {response.status}")
