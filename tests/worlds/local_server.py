"""Local HTTP servers that stand in for external services."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

POLL_INTERVAL_S = 0.01
"""How often a server checks whether to stop: `shutdown` waits for it, so the default of half a second is slow."""


class LocalHandler(BaseHTTPRequestHandler):
    """A request handler: override `do_GET` or `do_POST` to respond."""

    wbufsize = -1
    """A response leaves in one packet: a second would wait for the client to acknowledge the first, for 40 ms."""

    def read_body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def respond(self, status: int, body: bytes | dict | list = b"", **headers: str):
        """Respond with these bytes, or with this JSON document."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *args):
        """Log nothing."""


@contextmanager
def local_server(handler: type[LocalHandler]):
    """A server that responds at `server.url` until the block ends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(POLL_INTERVAL_S,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
