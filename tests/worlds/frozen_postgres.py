"""A way to PostgreSQL that can be frozen: to its clients it is a server that was sent SIGSTOP.

Established connections stay open and silent, and new ones are accepted by the kernel but not served, as by a stopped
process. The server itself keeps serving others.
"""

import selectors
import socket
import threading
import time

import sqlalchemy as sa

MAX_FROZEN_S = 8
SOCKET_NAME = ".s.PGSQL.5432"


class FreezablePostgres:
    """Forwards the connections to a Unix socket in `folder` while not frozen. `url`: the database through it."""

    def __init__(self, url: str, folder) -> None:
        url = sa.make_url(url)
        self.target = f"{url.query['host']}/{SOCKET_NAME}"
        self.url = url.set(query={**url.query, "host": str(folder)}).render_as_string(hide_password=False)
        self.frozen = self.stopping = False
        self.thaws_at = 0.0
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(f"{folder}/{SOCKET_NAME}")
        self.listener.listen(100)
        self.thread = threading.Thread(target=self._run)

    def freeze(self) -> None:
        """Freeze until `frozen` is False again, at most for `MAX_FROZEN_S`, so that no test waits forever."""
        self.thaws_at = time.monotonic() + MAX_FROZEN_S
        self.frozen = True

    def _run(self) -> None:
        selector = selectors.DefaultSelector()
        selector.register(self.listener, selectors.EVENT_READ, None)
        while not self.stopping:
            if self.frozen and time.monotonic() < self.thaws_at:
                threading.Event().wait(0.01)
                continue
            for key, _ in selector.select(0.05):
                if key.fileobj is self.listener:
                    client, server = self.listener.accept()[0], socket.socket(socket.AF_UNIX)
                    server.connect(self.target)
                    selector.register(client, selectors.EVENT_READ, server)
                    selector.register(server, selectors.EVENT_READ, client)
                else:
                    self._forward(selector, key.fileobj, key.data)
        for key in list(selector.get_map().values()):
            key.fileobj.close()

    @staticmethod
    def _forward(selector, source, target) -> None:
        try:
            data = source.recv(65536)
            target.sendall(data)
        except OSError:
            data = b""
        if not data:
            for end in (source, target):
                if end.fileno() >= 0:
                    selector.unregister(end)
                    end.close()

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping = True
        self.thread.join()
