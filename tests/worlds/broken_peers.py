"""Local servers that break in the ways that other services do: each accepts TCP connections and then misbehaves."""

import socket
import struct
import threading
import time
from contextlib import contextmanager, suppress

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
DRIP_S = 0.05
"""A byte comes long before any timeout for a read."""
LARGE_BYTES = 10_000_000


def hang(peer):
    """Accept, and say nothing."""


def hang_after_headers(peer):
    peer.recv(65536)
    peer.sendall(HEAD + b"Content-Length: 15\r\n\r\n")


def drip_headers(peer):
    while True:
        peer.sendall(b"H")
        time.sleep(DRIP_S)


def drip_body(peer):
    peer.recv(65536)
    peer.sendall(HEAD + b"\r\n")
    while True:
        peer.sendall(b" ")
        time.sleep(DRIP_S)


def reset(peer):
    peer.recv(65536)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


def send_too_much(peer):
    """A document of 10 MB, with what a service responds that allows everything."""
    peer.recv(65536)
    peer.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % LARGE_BYTES)
    peer.sendall(b'{"allow": true, "success": true, "valid": true, "x": "' + b"x" * (LARGE_BYTES - 56) + b'"}')


HTTP_FAULTS = (hang, hang_after_headers, drip_headers, drip_body, reset, send_too_much)


def drip_greeting(peer):
    """An SMTP server whose greeting never ends."""
    peer.sendall(b"220 ")
    drip_headers(peer)


def drip_replies(peer):
    """An SMTP server that continues its reply to EHLO for ever, each line in time."""
    peer.sendall(b"220 mail.example ESMTP\r\n")
    peer.recv(65536)
    while True:
        peer.sendall(b"250-mail.example\r\n")
        time.sleep(DRIP_S)


SMTP_FAULTS = (hang, drip_greeting, drip_replies, reset)


@contextmanager
def broken_peer(fault):
    """A server with this fault; yields its port. Every connection stays open until the end."""
    with socket.create_server(("127.0.0.1", 0), backlog=200) as server:
        peers = []

        def serve(peer):
            with suppress(OSError):
                fault(peer)

        def accept():
            with suppress(OSError):
                while True:
                    peer, _ = server.accept()
                    peers.append(peer)
                    threading.Thread(target=serve, args=(peer,), daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
            for peer in peers:
                with suppress(OSError):
                    peer.shutdown(socket.SHUT_RDWR)
                peer.close()
