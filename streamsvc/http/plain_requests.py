"""Parses the head of a plain request: what apps, browsers and proxies usually send.

gunicorn's parser takes as long as a hot read. What this one accepts is a strict subset, of which both make the same
request; whatever else is in a head is left to gunicorn's parser, to be understood or refused.
"""

import re
from typing import TYPE_CHECKING, Any

from gunicorn.http.message import Request

if TYPE_CHECKING:
    from gunicorn.config import Config

MAX_HEAD_BYTES, MAX_HEADERS = 4096, 50
HEAD = re.compile(
    r"(GET|HEAD|POST|PUT|PATCH|DELETE) ((?!//)/[!-\"$-~]*) HTTP/1\.1\r\n((?:[A-Za-z0-9-]+:[ -~]*\r\n)+)\r\n"
)
HEADER = re.compile(r"([^:]+): *(.*)\r\n")
UNUSUAL_HEADERS = frozenset(("EXPECT", "TRANSFER-ENCODING", "UPGRADE", "X-FORWARDED-PROTOCOL", "X-FORWARDED-SSL"))
SCHEME_HEADER = "X-FORWARDED-PROTO"


class PlainRequest(Request):
    """A request of HTTP/1.1 as gunicorn's parser would make it."""

    def __init__(self, cfg: "Config", client: Any, method: str, uri: str, headers: list[tuple[str, str]]) -> None:
        self.cfg, self.peer_addr, self.remote_addr, self.req_number = cfg, client, client, 1
        self.method, self.uri, self.version, self.scheme = method, uri, (1, 1), "http"
        self.path, _, self.query = uri.partition("?")
        self.headers, self.body = headers, None
        self.trailers: list[tuple[str, str]] = []
        self.fragment, self.must_close, self.proxy_protocol_info = "", False, None


def parse_plain_head(head: bytes, cfg: "Config", client: Any) -> PlainRequest | None:
    """Return the request with this head, which ends with an empty line; None if it is not plain."""
    match = HEAD.fullmatch(head.decode("latin-1")) if len(head) <= MAX_HEAD_BYTES else None
    if match is None:
        return None
    headers = [(name.upper(), value.rstrip(" ")) for name, value in HEADER.findall(match[3])]
    fields = dict(headers)
    is_unclear = len(fields) < len(headers) or not fields.get("CONTENT-LENGTH", "0").isdigit()
    if is_unclear or len(headers) > MAX_HEADERS or not UNUSUAL_HEADERS.isdisjoint(fields):
        return None
    request = PlainRequest(cfg, client, match[1], match[2], headers)
    if fields.get(SCHEME_HEADER) == cfg.secure_scheme_headers.get(SCHEME_HEADER) and request._peer_is_trusted_proxy():
        request.scheme = "https"
    return request
