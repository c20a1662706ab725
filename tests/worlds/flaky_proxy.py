"""A proxy in front of a service that refuses requests, or loses them or their responses, as it was told."""

import http.client
import json
import socket
import time
from collections import deque
from contextlib import contextmanager, suppress
from typing import NamedTuple

from tests.worlds.local_server import LocalHandler, local_server

HOP_BY_HOP = {"connection", "transfer-encoding", "content-length"}
LOSE_REQUEST, LOSE_RESPONSE = "lose request", "lose response"


class Refusal(NamedTuple):
    """What the proxy responds by itself; by default like an nginx whose server is overloaded."""

    status: int
    retry_after: str | None = None
    body: bytes = b"<html><h1>503 Service Temporarily Unavailable</h1></html>"


class Seen(NamedTuple):
    """A request that arrived."""

    method: str
    path: str
    key: str | None
    at_s: float


class Forwarder(LocalHandler):
    """Forwards to the service. Programs that are no Python plan faults by `PUT /plan`, and read `GET /seen`."""

    def forward(self):
        body, server = self.read_body(), self.server
        if self.path == "/seen":
            return self.respond(200, [each._asdict() for each in server.seen])
        if self.path == "/plan":
            planned = [
                each if isinstance(each, str) else Refusal(*each[:2], *map(str.encode, each[2:]))
                for each in json.loads(body)
            ]
            server.faults.extend(planned)
            server.seen.clear()
            return self.respond(204)
        server.seen.append(Seen(self.command, self.path, self.headers.get("Idempotency-Key"), time.monotonic()))
        fault = server.faults.popleft() if server.faults else None
        if isinstance(fault, Refusal):
            return self.respond(fault.status, fault.body, **{"Retry-After": fault.retry_after} if fault[1] else {})
        if fault == LOSE_REQUEST:
            return self.connection.shutdown(socket.SHUT_RDWR)
        upstream = http.client.HTTPConnection("127.0.0.1", server.service_port, timeout=120)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
        upstream.request(self.command, self.path, body, headers)
        response = upstream.getresponse()
        content = response.read()
        upstream.close()
        if fault == LOSE_RESPONSE:
            return self.connection.shutdown(socket.SHUT_RDWR)
        self.send_response_only(response.status)
        for name, value in response.getheaders():
            if name.lower() not in HOP_BY_HOP:
                self.send_header(name, value)
        if response.status != 204:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        return self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = forward

    def handle_one_request(self):
        try:
            super().handle_one_request()
        except OSError:  # the client has gone, or its connection was cut here
            self.close_connection = True

    def finish(self):
        with suppress(OSError):
            super().finish()


@contextmanager
def flaky_proxy(service_port: int):
    """A proxy at `proxy.url`: `faults` has what happens to the next requests, in order, `seen` all requests."""
    with local_server(Forwarder) as proxy:
        proxy.service_port, proxy.faults, proxy.seen = service_port, deque(), []
        yield proxy
