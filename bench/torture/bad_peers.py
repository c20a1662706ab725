"""A proxy that makes a peer of the service misbehave: it passes data on, hangs, drips, resets, or sends without end."""

import selectors
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

DRIP_INTERVAL_S, ENDLESS_BLOCK = 1.0, b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n" + b" " * 65_536
MODES = ("hang", "drip", "reset", "endless")


class BadPeer:
    """Listens at `address`; `mode` is "good" or one of MODES, for connections and for data that arrive from now on.

    Without a target, a "good" peer responds to every request with an empty 200.
    """

    def __init__(self, target: str | None = None) -> None:
        self.target, self.mode, self.stopping = target, "good", threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=200)
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.connections = 0

    def run(self) -> None:
        while not self.stopping.is_set():
            with suppress(OSError):
                client, _ = self.listener.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            if self.mode == "good" and self.target:
                self._forward(client)
            elif self.mode == "good":
                client.recv(65_536)
                client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            else:
                self._misbehave(client)

    def _misbehave(self, client: socket.socket) -> None:
        client.recv(65_536)
        if self.mode == "reset":
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif self.mode == "endless":
            while not self.stopping.is_set():
                client.sendall(ENDLESS_BLOCK)
        elif self.mode == "drip":
            for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 600:
                client.sendall(bytes([byte]))
                if self.stopping.wait(DRIP_INTERVAL_S):
                    return
        else:
            self.stopping.wait()

    def _forward(self, client: socket.socket) -> None:
        host, _, port = (self.target or "").partition(":")
        with socket.create_connection((host, int(port))) as server, selectors.DefaultSelector() as selector:
            selector.register(client, selectors.EVENT_READ, server)
            selector.register(server, selectors.EVENT_READ, client)
            while True:
                for key, _ in selector.select():
                    data = key.fileobj.recv(65_536)
                    if self.mode != "good":
                        self._misbehave(client)
                        return
                    if not data:
                        return
                    key.data.sendall(data)


@contextmanager
def bad_peer(target: str | None = None) -> Iterator[BadPeer]:
    """A peer that runs until the block ends; `target` is the address of what it stands for."""
    peer = BadPeer(target)
    thread = threading.Thread(target=peer.run, daemon=True)
    thread.start()
    try:
        yield peer
    finally:
        peer.stopping.set()
        peer.listener.shutdown(socket.SHUT_RDWR)
        peer.listener.close()
        thread.join()
