"""Load generator: a fixed number of connections send one request after the other for a fixed time, in this process.

It takes processor time from the servers, but none of the processor time that is measured.
"""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass

SUCCESSES = (b"200", b"201", b"204", b"304")
NO_BODY = (b"204", b"304")


@dataclass(frozen=True)
class LoadResult:
    """The result of one round. `failures`: unsuccessful responses."""

    count: int
    per_second: float
    p50_ms: float
    p99_ms: float
    failures: int


def run_load(host: str, requests: Iterator[bytes], seconds: float, connections: int) -> LoadResult:
    """Send encoded requests to `host` for one round: each connection sends the next one when it has its response."""
    return asyncio.run(_run_connections(host, requests, seconds, connections))


async def _run_connections(host, requests, seconds, connections) -> LoadResult:
    times_s, started = [], time.perf_counter()
    running = (_run_connection(host, requests, started + seconds, times_s) for _ in range(connections))
    failures = sum(await asyncio.gather(*running))
    elapsed_s, times_s = time.perf_counter() - started, sorted(times_s)
    p50, p99 = (times_s[int(len(times_s) * share)] * 1e3 for share in (0.5, 0.99))
    return LoadResult(len(times_s), len(times_s) / elapsed_s, p50, p99, failures)


async def _run_connection(host, requests, until, times_s) -> int:
    """Send requests until the given time, append the response times, and return the number of failures."""
    name, _, port = host.partition(":")
    reader, writer = await asyncio.open_connection(name, int(port))
    failures = 0
    while True:
        started = time.perf_counter()
        writer.write(next(requests))
        head = await reader.readuntil(b"\r\n\r\n")
        status, fields = head[9:12], head.lower()
        if status not in NO_BODY:
            await reader.readexactly(int(fields.partition(b"content-length: ")[2].partition(b"\r\n")[0]))
        times_s.append(time.perf_counter() - started)
        failures += status not in SUCCESSES
        if time.perf_counter() > until:
            break
        if b"connection: close" in fields:
            writer.close()
            reader, writer = await asyncio.open_connection(name, int(port))
    writer.close()
    return failures
