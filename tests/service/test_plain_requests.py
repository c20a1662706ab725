"""The parser of plain heads makes the same request of a head as gunicorn's, or none."""

import random
import time

import pytest
from gunicorn.config import Config
from gunicorn.http.parser import RequestParser

from bench.wire import change_bytes
from streamsvc.http.plain_requests import parse_plain_head
from tests.worlds.wire import REQUESTS, request

CHANGES = 4_000
PROXY, STRANGER = ("127.0.0.1", 40000), ("192.0.2.1", 40000)
GET = b"GET /v1/catalog/titles?genre=drama&cursor=a%2Fb~c HTTP/1.1\r\nHost: x:8000\r\n"
PLAIN = {
    "an app's": GET + b"Authorization: Bearer sst_abc\r\nAccept-Encoding: gzip, br\r\nUser-Agent: tv/1 (a; b)\r\n\r\n",
    "a proxy's": GET + b"X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: https\r\nConnection: close\r\n\r\n",
    "one with a body": request(b"Content-Length: 2"),
    "one with odd spaces": GET + b"X-A:1\r\nX-B:   2  \r\nX-C:\r\nX-D: : 3\r\n\r\n",
    "one without headers but Host": b"DELETE /v1/sessions/current HTTP/1.1\r\nHost: x\r\n\r\n",
}
NOT_PLAIN = {
    "chunked": request(b"Transfer-Encoding: chunked"),
    "a client that asks first": request(b"Content-Length: 2", b"Expect: 100-continue"),
    "two lengths": request(b"Content-Length: 2", b"Content-Length: 2"),
    "a header sent twice": request(b"X-A: 1", b"X-A: 2"),
    "a signed length": request(b"Content-Length: +2"),
    "an underscore": request(b"X_Forwarded_For: 1"),
    "a space before the colon": request(b"X-A : 1"),
    "a folded header": request(b"X-A: 1\r\n 2"),
    "a control character": request(b"X-A: \x7f"),
    "text that is not ASCII": request(b"X-A: \xc3\xa9"),
    "two slashes": b"GET //x HTTP/1.1\r\nHost: x\r\n\r\n",
    "a fragment": b"GET /x#y HTTP/1.1\r\nHost: x\r\n\r\n",
    "an absolute target": b"GET http://x/ HTTP/1.1\r\nHost: x\r\n\r\n",
    "HTTP/1.0": b"GET / HTTP/1.0\r\nHost: x\r\n\r\n",
    "an upgrade": request(b"Connection: upgrade", b"Upgrade: websocket"),
    "a long head": GET + b"X-A: " + b"x" * 4096 + b"\r\n\r\n",
    "many headers": GET + b"".join(b"X-%d: 1\r\n" % number for number in range(60)) + b"\r\n",
}
COMPARED = ("method", "uri", "path", "query", "fragment", "version", "headers", "trailers", "scheme", "must_close")
COMPARED += ("peer_addr", "remote_addr", "proxy_protocol_info", "req_number", "_expected_100_continue")


@pytest.fixture(scope="module")
def cfg():
    return Config()


def describe(parsed):
    return {name: getattr(parsed, name) for name in COMPARED} | {"should_close": parsed.should_close()}


def parse_by_gunicorn(head, cfg, client):
    return next(RequestParser(cfg, iter([head]), client))


@pytest.mark.parametrize("client", [PROXY, STRANGER, "a unix socket"])
@pytest.mark.parametrize("head", PLAIN.values(), ids=PLAIN)
def test_plain_heads_are_parsed_as_by_gunicorn(cfg, head, client):
    assert describe(parse_plain_head(head, cfg, client)) == describe(parse_by_gunicorn(head, cfg, client))


def test_only_a_trusted_proxy_says_that_its_client_used_https(cfg):
    head = PLAIN["a proxy's"]
    assert [parse_plain_head(head, cfg, client).scheme for client in (PROXY, STRANGER)] == ["https", "http"]


@pytest.mark.parametrize("head", NOT_PLAIN.values(), ids=NOT_PLAIN)
def test_whatever_is_not_plain_is_left_to_gunicorn(cfg, head):
    assert parse_plain_head(head, cfg, PROXY) is None


@pytest.mark.parametrize("value", [b"a" + b" " * 3900 + b"b", b" " * 3900, b"a " * 1950, b"a" + b" " * 3900])
def test_a_head_is_parsed_in_linear_time(cfg, value):
    """The event loop parses heads: nobody else is served meanwhile."""
    times = []
    for _ in range(5):
        started = time.process_time()
        parsed = parse_plain_head(GET + b"X-A: " + value + b"\r\n\r\n", cfg, PROXY)
        times.append(time.process_time() - started)
        assert parsed.headers[-1] == ("X-A", value.decode().strip())
    assert min(times) < 0.002


def test_no_changed_head_is_parsed_in_another_way_than_by_gunicorn(cfg):
    rng, parsed = random.Random(1), 0
    known = [raw.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" for raw, _ in REQUESTS.values() if len(raw) < 5_000]
    for _ in range(CHANGES):
        head = change_bytes(rng.choice([*PLAIN.values(), *known]), rng)
        found = parse_plain_head(head, cfg, PROXY)
        if found is not None:
            assert describe(found) == describe(parse_by_gunicorn(head, cfg, PROXY)), head
            parsed += 1
    assert parsed > CHANGES / 20, "most changes are no longer plain, and some are"
