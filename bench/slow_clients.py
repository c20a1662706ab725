"""python -m bench.slow_clients: how long healthy requests take while slow and silent clients hold connections open.

A service with the default settings on a new SQLite database serves two clients that read the plans, first alone, then
next to each kind of slow client. Prints the 50th and 99th percentile of each, in milliseconds. `--server granian`
measures Granian instead, `--worker-class gthread` gunicorn's own threaded worker.
"""

import argparse
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from http.client import HTTPConnection

from bench import report, servers

HEAD = b"GET /v1/plans?country=DE HTTP/1.1\r\nHost: x\r\n"
BODY_HEAD = b"POST /v1/sessions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 200\r\n\r\n"
ATTACKS = {
    "no other client": (0, b"", b""),
    "16 heads, a byte a second": (16, HEAD, b"X"),
    "60 bodies, a byte a second": (60, BODY_HEAD, b" "),
    "200 silent connections": (200, b"", b""),
    "1,500 silent connections": (1_500, b"", b""),
}
"""Name -> (connections, what each sends at once, what it sends every second)."""


class SlowClients:
    """Connections that send what they must as slowly as described, and reconnect when they are closed."""

    def __init__(self, port: int, count: int, first: bytes, byte: bytes) -> None:
        self.port, self.first, self.byte, self.stopping = port, first, byte, threading.Event()
        self.sockets = [self._connect() for _ in range(count)]
        self.thread = threading.Thread(target=self._drip)

    def _connect(self) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=5)
        connection.sendall(self.first)
        connection.setblocking(False)
        return connection

    def _drip(self) -> None:
        while not self.stopping.wait(1):
            for index, connection in enumerate(self.sockets):
                try:
                    connection.send(self.byte)
                    if connection.recv(1000) is not None:
                        raise ConnectionError
                except BlockingIOError:
                    continue
                except OSError:
                    connection.close()
                    self.sockets[index] = self._connect()

    def __enter__(self) -> None:
        self.thread.start()

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self.thread.join()
        for connection in self.sockets:
            connection.close()


def measure(port: int, seconds: float) -> list[float]:
    """Milliseconds of each request of two clients, new connections included."""
    times: list[float] = []

    def run() -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            started = time.perf_counter()
            connection = HTTPConnection("127.0.0.1", port, timeout=20)
            try:
                connection.request("GET", "/v1/plans?country=DE")
                connection.getresponse().read()
            except OSError:
                pass  # its time counts
            connection.close()
            times.append((time.perf_counter() - started) * 1e3)
            time.sleep(0.005)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(times)


def main() -> None:
    parser = argparse.ArgumentParser("python -m bench.slow_clients", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=15, help="for each kind of client")
    parser.add_argument("--server", choices=("gunicorn", "granian"), default="gunicorn")
    parser.add_argument("--worker-class", default="streamsvc.http.worker.BufferingWorker")
    options = parser.parse_args()
    print(report.describe_machine())
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="streamsvc-bench-"))
        env = servers.environment_without_settings()
        env |= {"STREAMSVC_DATA_DIR": folder, "STREAMSVC_SANDBOX": "1"}
        env["GUNICORN_CMD_ARGS"] = f"--worker-class {options.worker_class}"
        subprocess.run([sys.executable, "-m", "streamsvc.cli", "db", "upgrade"], env=env, check=True)
        server = stack.enter_context(servers.run_server(options.server, "streamsvc.app:create_app()", env))
        port = int(server.host.rpartition(":")[2])
        measure(port, 1)
        for name, attack in ATTACKS.items():
            with SlowClients(port, *attack):
                times = measure(port, options.seconds)
            p99 = times[int(len(times) * 0.99) - 1]
            print(f"{name:30} p50 {statistics.median(times):8.1f}  p99 {p99:8.1f}  n {len(times)}", flush=True)


if __name__ == "__main__":
    main()
