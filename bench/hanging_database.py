"""python -m bench.hanging_database: freeze PostgreSQL for ten seconds under load.

Starts a PostgreSQL server and `streamsvc serve` on it. Twelve clients read the plans, one each asks for `/livez` and
`/readyz`; meanwhile all of PostgreSQL's processes get SIGSTOP, and SIGCONT after ten seconds. Prints the responses by
status, the slowest one, and how long after SIGCONT the first 200 came.
"""

import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import psutil
import sqlalchemy as sa

from bench import report
from tests.worlds.postgres import postgres_server
from tests.worlds.service import Service, wait_until

PATHS = ["/v1/plans?country=DE"] * 12 + ["/livez", "/readyz"]
FROZEN_S, BEFORE_AND_AFTER_S = 10, 4


def request_until(stopping: threading.Event, service: Service, path: str, responses: list) -> None:
    """Append (path, start, end, status) of each response."""
    while not stopping.is_set():
        started = time.monotonic()
        status = service.get(path)[0]
        responses.append((path, started, time.monotonic(), status))
        time.sleep(0.02)


def measure(service: Service, postmaster: psutil.Process) -> None:
    stopping, responses = threading.Event(), []
    threads = [threading.Thread(target=request_until, args=(stopping, service, path, responses)) for path in PATHS]
    for thread in threads:
        thread.start()
    time.sleep(BEFORE_AND_AFTER_S)
    processes = [postmaster, *postmaster.children(recursive=True)]
    for process in processes:
        process.suspend()
    frozen = time.monotonic()
    time.sleep(FROZEN_S)
    for process in processes:
        process.resume()
    thawed = time.monotonic()
    time.sleep(BEFORE_AND_AFTER_S)
    stopping.set()
    for thread in threads:
        thread.join()
    for path in dict.fromkeys(PATHS):
        during = [r for r in responses if r[0] == path and r[2] >= frozen and r[1] < thawed]
        recovered = min(r[2] for r in responses if r[0] == path and r[1] > frozen + 3 and r[2] > thawed and r[3] == 200)
        statuses = ", ".join(f"{count} × {status}" for status, count in Counter(r[3] for r in during).items())
        slowest = max(ended - started for _, started, ended, _ in during)
        print(f"{path:22} {statuses}; slowest {slowest:.2f} s; 200 again after {recovered - thawed:.2f} s")


def main() -> None:
    print(report.describe_machine())
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="streamsvc-bench-")))
        url = stack.enter_context(postgres_server())
        server = sa.create_engine(
            url.format("postgres").replace("postgresql:", "postgresql+psycopg:"), isolation_level="AUTOCOMMIT"
        )
        with server.connect() as connection:
            connection.exec_driver_sql("CREATE DATABASE hanging")
        server.dispose()
        service = Service(url.format("hanging"), folder)
        service.command("db", "upgrade")
        service.start()
        stack.callback(service.process.wait)
        stack.callback(service.process.terminate)
        wait_until(service.is_ready)
        pid = int((Path(sa.make_url(url).query["host"]) / "data" / "postmaster.pid").read_text().split()[0])
        measure(service, psutil.Process(pid))


if __name__ == "__main__":
    main()
