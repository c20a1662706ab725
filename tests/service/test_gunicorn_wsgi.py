"""The environments and responses of BufferingWorker are those that gunicorn itself makes."""

import re
import socket
from types import SimpleNamespace

import pytest
from gunicorn.config import Config
from gunicorn.http import wsgi
from gunicorn.http.errors import InvalidResponseHeader
from gunicorn.http.parser import RequestParser

from streamsvc.http.gunicorn_wsgi import OnePacketResponse, base_environ, build_environ

CLIENT, SERVER = ("192.0.2.1", 40000), ("127.0.0.1", 8000)
HEADS = {
    "an app's": b"GET /v1/catalog/titles?genre=drama HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer sst_a\r\n",
    "one with a body": b"POST /v1 HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n",
    "an encoded path": b"GET /v1/titles/%C3%A9%2F HTTP/1.1\r\nHost: x\r\n",
    "a header sent twice": b"GET / HTTP/1.1\r\nHost: x\r\nX-A: 1\r\nX-A: 2\r\nX-A: 3\r\n",
    "HTTP/1.0": b"HEAD / HTTP/1.0\r\nConnection: keep-alive\r\n",
}
LENGTH = ("Content-Length", "2")
RESPONSES = {
    "a document": ("200 OK", [("Content-Type", "application/json"), LENGTH], [b"{}"]),
    "several chunks": ("200 OK", [], [b"a", b"", b"bc"]),
    "more than it declares": ("200 OK", [LENGTH], [b"abc"]),
    "no change": ("304 NOT MODIFIED", [("ETag", '"a"')], []),
    "nothing": ("204 NO CONTENT", [LENGTH], []),
    "headers of the connection": ("200 OK", [LENGTH, ("Connection", "close"), ("Server", "x"), ("Date", "x")], [b"{}"]),
    "a header sent twice": ("200 OK", [LENGTH, ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")], [b"{}"]),
    "a reason that is missing": ("299", [LENGTH], [b"{}"]),
}


def parse(head):
    return next(RequestParser(Config(), iter([head + b"\r\n"]), CLIENT))


def respond(response_type, request, status, headers, chunks):
    """The bytes that a response sends, without its date, and whether the connection must be closed after it."""
    ours, client = socket.socketpair()
    with ours, client:
        ours.setblocking(response_type is wsgi.Response)
        unsent = () if response_type is wsgi.Response else (bytearray(),)
        response = response_type(request, ours, Config(), *unsent)
        response.start_response(status, list(headers))
        for chunk in chunks:
            response.write(chunk)
        response.close()
        ours.shutdown(socket.SHUT_WR)
        return re.sub(rb"\r\nDate: [^\r]+ GMT", b"", client.makefile("rb").read()), response.should_close()


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_environments_are_those_of_gunicorn(head):
    request, cfg = parse(head), Config()
    expected = wsgi.create(request, None, CLIENT, SERVER, cfg)[1] | {"wsgi.multithread": True}
    del expected["gunicorn.socket"], expected["wsgi.early_hints"], expected["wsgi.errors"]
    environ = build_environ(base_environ(cfg), request, SimpleNamespace(client=CLIENT, server=SERVER))
    assert hasattr(environ.pop("wsgi.errors"), "write")
    assert environ == expected


@pytest.mark.parametrize(
    "head", [HEADS["an app's"], HEADS["HTTP/1.0"], b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"]
)
@pytest.mark.parametrize("response", RESPONSES.values(), ids=RESPONSES)
def test_responses_are_those_of_gunicorn(head, response):
    assert respond(OnePacketResponse, parse(head), *response) == respond(wsgi.Response, parse(head), *response)


@pytest.mark.parametrize(
    "header",
    [("X-A", "1\r\nX-B: 2"), ("X-A", "1\n"), ("X-A", "1\r"), ("X-A: 1\r\nX-B", "2"), ("X-A", "\x00"), ("X-A", "ſ")],
)
def test_no_header_can_begin_another_one(header):
    with pytest.raises(InvalidResponseHeader):
        respond(OnePacketResponse, parse(HEADS["an app's"]), "200 OK", [header, LENGTH], [b"{}"])
