"""python -m bench.standby_reads: which reads come from the standby while heartbeats arrive, and how long they take.

`python -m bench.standby_reads [heartbeats per second] [--reads 100]`. A primary and a standby are started for the run.
Heartbeats do not wait for the disk, and PostgreSQL sends to the standby only what its WAL writer has written, every
`wal_writer_delay`: each value of it is a line. Elapsed time, in process, one read after the other.
"""

import argparse
import statistics
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

from streamsvc.storage.replica import read_finished
from tests.conftest import build_app, close_app, migrate_database
from tests.worlds.channel_steps import LiveWorld
from tests.worlds.playback_steps import FILM
from tests.worlds.service import wait_until
from tests.worlds.standby import execute, primary_and_standby

DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
DELAYS = ("200ms", "10ms")
"""PostgreSQL's default, and what docs/scaling.md recommends."""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rate", nargs="?", type=float, default=30, help="heartbeats per second")
    parser.add_argument("--reads", type=int, default=100, help="reads of each kind")
    options = parser.parse_args()
    print("| `wal_writer_delay` | read | from the standby | median, ms |\n|---|---|--:|--:|")
    for delay in DELAYS:
        with primary_and_standby({**DURABLE, "wal_writer_delay": delay}, **DURABLE) as (primary, standby):
            url = primary.url.format("tv")
            execute(primary.url.format("postgres"), "CREATE DATABASE tv")
            migrate_database(url)
            app = build_app(url, database_replica_url=standby.url.format("tv"))
            for name, share, median_ms in measure(app, options.rate, options.reads):
                print(f"| {delay} | {name} | {share:.0%} | {median_ms:.1f} |", flush=True)
            close_app(app)


def measure(app, rate: float, reads: int):
    """Yield (name, share of the reads from the standby, median in milliseconds)."""
    world = LiveWorld(app)
    world.put_titles(FILM)
    world.put_channel()
    viewer, watcher = world.household(), world.household(world.put_plan())
    stream_id = watcher.play("film").json["stream_id"]
    with app.app_context():
        wait_until(app.extensions["replica"].is_usable)
    paths: dict[str, Callable[[int], str]] = {
        "the home page": lambda number: f"/v1/catalog/home?locale=en-{number:03}",  # since responses are kept
        "the history": lambda _: f"/v1/profiles/{viewer.profile_id}/history",
        "the guide": lambda _: "/v1/catalog/programmes",
    }
    stopping = threading.Event()
    sender = threading.Thread(target=send_heartbeats, args=(watcher, stream_id, 1 / rate, stopping))
    sender.start()
    try:
        for name, path in paths.items():
            yield name, *measure_reads(viewer, path, reads)
    finally:
        stopping.set()
        sender.join()


def send_heartbeats(watcher, stream_id: str, interval_s: float, stopping: threading.Event) -> None:
    position_s = 0
    while not stopping.wait(interval_s):
        position_s += 1
        response = watcher.send_heartbeat(stream_id, position_s, at=datetime.now(UTC))
        assert response.status_code == 200, response.json


def measure_reads(viewer, path: Callable[[int], str], reads: int) -> tuple[float, float]:
    servers, durations_ms = [], []

    def note(_, server):
        servers.append(server)

    with read_finished.connected_to(note):
        for number in range(reads):
            started = time.perf_counter()
            assert viewer.get(path(number)).status_code == 200
            durations_ms.append((time.perf_counter() - started) * 1000)
            time.sleep(0.01)
    return servers.count("replica") / len(servers), statistics.median(durations_ms)


if __name__ == "__main__":
    main()
