"""Requests that are not valid HTTP, byte by byte, and a client that sends them over TCP."""

import re
import socket

SESSION = b'{"email": "ann@example.com", "password": 1}'
MAX_BODY_BYTES = 256 * 1024


def chunked(*chunks: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + end


def request(*headers: bytes, body: bytes = b"", method: bytes = b"POST", host: bytes | None = b"Host: x") -> bytes:
    """A request to sign in with exactly these headers."""
    lines = [method + b" /v1/sessions HTTP/1.1", *([host] if host is not None else []), *headers]
    return b"\r\n".join([*lines, b"Content-Type: application/json", b"", b""]) + body


CHUNKED = b"Transfer-Encoding: chunked"
LENGTH = b"Content-Length: %d" % len(SESSION)
REQUESTS = {
    "a valid request": (request(LENGTH, body=SESSION), 422),
    "a valid chunked request": (request(CHUNKED, body=chunked(SESSION[:7], SESSION[7:])), 422),
    "chunks with extensions and trailers": (
        request(CHUNKED, body=b'%x;a="b"\r\n%s\r\n0\r\nX-T: 1\r\n\r\n' % (len(SESSION), SESSION)),
        422,
    ),
    "a chunk size that is no number": (request(CHUNKED, body=b"zz\r\n" + SESSION + b"\r\n0\r\n\r\n"), 400),
    "a negative chunk size": (request(CHUNKED, body=b"-1\r\n" + SESSION + b"\r\n0\r\n\r\n"), 400),
    "a signed chunk size": (request(CHUNKED, body=b"+5\r\nhello\r\n0\r\n\r\n"), 400),
    "a hexadecimal prefix": (request(CHUNKED, body=b"0x5\r\nhello\r\n0\r\n\r\n"), 400),
    "an empty chunk size": (request(CHUNKED, body=b"\r\nhello\r\n0\r\n\r\n"), 400),
    "a huge chunk size": (request(CHUNKED, body=b"f" * 40 + b"\r\nhello\r\n0\r\n\r\n"), 400),
    "a chunk longer than its size": (request(CHUNKED, body=b"5\r\nhello!!\r\n0\r\n\r\n"), 400),
    "a chunk without a terminator": (request(CHUNKED, body=b"5\r\nhello0\r\n\r\n"), 400),
    "no last chunk": (request(CHUNKED, body=chunked(SESSION, end=b"")), 400),
    "no end of the trailers": (request(CHUNKED, body=chunked(SESSION, end=b"0\r\n")), 400),
    "a bare LF after a chunk size": (request(CHUNKED, body=b"5\nhello\r\n0\r\n\r\n"), 400),
    "one-byte chunks with long extensions": (
        request(CHUNKED, body=(b"1;" + b"x" * 1000 + b"\r\na\r\n") * 100 + b"0\r\n\r\n"),
        400,
    ),
    "a chunked body over the limit": (request(CHUNKED, body=chunked(*[b" " * 8192] * 32, SESSION)), 413),
    "a chunked body at the limit": (
        request(CHUNKED, body=chunked(SESSION, b" " * (MAX_BODY_BYTES - len(SESSION)))),
        422,
    ),
    "a declared body over the limit": (request(b"Content-Length: 262145", body=b"{}"), 413),
    "a body that ends early": (request(b"Content-Length: 500", body=SESSION), 400),
    "no Host": (request(LENGTH, body=SESSION, host=None), 400),
    "an empty Host": (request(LENGTH, body=SESSION, host=b"Host:"), 400),
    "two Hosts": (request(b"Host: y", LENGTH, body=SESSION), 400),
    "a Host with a path": (request(LENGTH, body=SESSION, host=b"Host: x/y"), 400),
    "a Host with a user": (request(LENGTH, body=SESSION, host=b"Host: a@x"), 400),
    "a Host with a space": (request(LENGTH, body=SESSION, host=b"Host: x y"), 400),
    "a Host with a bad port": (request(LENGTH, body=SESSION, host=b"Host: x:99999"), 400),
    "a Host with an IPv6 address": (request(LENGTH, body=SESSION, host=b"Host: [::1]:8000"), 422),
    "a target of another host": (b"GET http://y/livez HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "HTTP/1.0 without Host": (b"GET /livez HTTP/1.0\r\n\r\n", 200),
    "both lengths": (request(LENGTH, CHUNKED, body=chunked(SESSION)), 400),
    "two lengths": (request(LENGTH, b"Content-Length: 0", body=SESSION), 400),
    "a signed length": (request(b"Content-Length: +%d" % len(SESSION), body=SESSION), 400),
    "a list of lengths": (request(b"Content-Length: %d, %d" % (len(SESSION), len(SESSION)), body=SESSION), 400),
    "chunked twice": (request(CHUNKED, CHUNKED, body=chunked(SESSION)), 400),
    "chunked in HTTP/1.0": (request(CHUNKED, body=chunked(SESSION)).replace(b"HTTP/1.1", b"HTTP/1.0"), 400),
    "a coding before chunked": (request(b"Transfer-Encoding: gzip, chunked", body=chunked(SESSION)), 501),
    "a coding without chunked": (request(b"Transfer-Encoding: gzip", body=SESSION), 400),
    "an unknown transfer coding": (request(b"Transfer-Encoding: xchunked", body=chunked(SESSION)), 501),
    "a space before the colon": (request(b"Transfer-Encoding : chunked", body=chunked(SESSION)), 400),
    "a folded header": (request(b"X-A: 1\r\n b: 2", LENGTH, body=SESSION), 400),
    "a bare LF in the head": (b"GET /livez HTTP/1.1\nHost: x\n\n", 400),
    "a bare LF between headers": (b"GET /livez HTTP/1.1\r\nHost: x\nX-A: 1\r\n\r\n", 400),
    "a bare CR in a header": (request(b"X-A: 1\rX-B: 2", LENGTH, body=SESSION), 400),
    "a NUL in a header": (request(b"X-A: \0", LENGTH, body=SESSION), 400),
    "an endless head": (b"GET /livez HTTP/1.1\r\nHost: x\r\n" + b"X-A: 1\r\n" * 10_000, 431),
    "a long header": (b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Long: " + b"x" * 9000 + b"\r\n\r\n", 431),
    "a long request line": (b"GET /livez?" + b"x" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
    "an endless request line": (b"GET /" + b"x" * 70_000, 414),
    "HTTP/2 without an upgrade": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x0a" * 32, 400),
}
"""What is sent -> (the bytes, the status)."""


INCOMPLETE = ("no last chunk", "no end of the trailers", "a body that ends early")
ON_GRANIAN = {
    "chunks with extensions and trailers": 400,
    "both lengths": 422,
    "an unknown transfer coding": 400,
    "a bare LF in the head": 200,
    "a bare LF between headers": 200,
    "an endless request line": 431,
    "HTTP/2 without an upgrade": None,
}
"""What is sent -> the status, where it is another one on Granian; None: the connection is closed."""


def exchange(port: int, raw: bytes, timeout_s: float = 20, half_closes: bool = True) -> bytes:
    """Send the bytes, close the sending side, and read all that comes back. Raises OSError if it is reset.

    If the sending side is to stay open, read one response.
    """
    with socket.create_connection(("127.0.0.1", port), timeout=timeout_s) as connection:
        connection.sendall(raw)
        if half_closes:
            connection.shutdown(socket.SHUT_WR)
            return connection.makefile("rb").read()
        response = b""
        while not is_complete(response) and (data := connection.recv(64 * 1024)):
            response += data
        return response


def is_complete(response: bytes) -> bool:
    head, end, body = response.partition(b"\r\n\r\n")
    length = re.search(rb"\r\ncontent-length: *(\d+)", head.lower())
    return bool(end and length) and len(body) >= int(length[1])


def find_wrong_responses(port: int, server: str = "gunicorn") -> dict[str, bytes]:
    """Send all requests; {what was sent: the start of its response} where the response is not exactly the expected.

    What Granian refuses by itself has an empty body. It does not respond to a client that has closed its sending side.
    """
    wrong = {}
    is_granian = server == "granian"
    for name, (raw, status) in REQUESTS.items():
        response = exchange(port, raw, half_closes=not is_granian or name in INCOMPLETE)
        status = ON_GRANIAN.get(name, status) if is_granian else status
        if status is None:
            is_right = not response
        else:
            is_right = bool(re.match(rb"HTTP/1[.][01] %d " % status, response)) and response.count(b"HTTP/1.") == 1
            is_described = b'"request_id"' in response or (is_granian and response.endswith(b"\r\n\r\n"))
            is_right = is_right and (status < 400 or is_described)
        if not is_right:
            wrong[name] = response[:200]
    return wrong
