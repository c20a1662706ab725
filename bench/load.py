"""Load generator: a fixed number of connections send one request after the other for a fixed time.

It uses wrk if that is installed, otherwise asyncio in a separate process:

    python -m bench.load HOST:PORT FILE SECONDS CONNECTIONS        (FILE: the encoded requests as a JSON list)
"""

import asyncio
import json
import random
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

SCRIPT = """
local requests = {{}}
for line in io.lines("{file}") do
  requests[#requests + 1] = line:gsub("\\\\r", "\\r"):gsub("\\\\n", "\\n")
end
local index = {start}
request = function()
  index = index % #requests + 1
  return requests[index]
end
done = function(summary, latency)
  io.write(string.format("RESULT %d %d %d %d %d\\n", summary.requests, summary.duration,
    summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.timeout,
    latency:percentile(50), latency:percentile(99)))
end
"""


@dataclass(frozen=True)
class LoadResult:
    """The result of one round. `failures`: unsuccessful responses, and requests without a response."""

    per_second: float
    p50_ms: float
    p99_ms: float
    failures: int


def run_load(host: str, requests: list[bytes], seconds: float, connections: int, folder: Path) -> LoadResult:
    """Send the encoded requests to `host` for one round. `folder` is for temporary files."""
    if shutil.which("wrk"):
        return _run_wrk(host, requests, seconds, connections, folder)
    file = folder / "requests.json"
    file.write_text(json.dumps([encoded.decode() for encoded in requests]))
    command = [sys.executable, "-m", "bench.load", host, str(file), str(seconds), str(connections)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return LoadResult(**json.loads(output))


def _run_wrk(host, requests, seconds, connections, folder):
    file, script = folder / "requests.txt", folder / "load.lua"
    file.write_text("\n".join(encoded.decode().replace("\r", "\\r").replace("\n", "\\n") for encoded in requests))
    script.write_text(SCRIPT.format(file=file, start=random.randrange(len(requests))))
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "-s", str(script), f"http://{host}/"]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    count, duration_us, failures, p50_us, p99_us = map(int, output.rpartition("RESULT ")[2].split())
    return LoadResult(count / (duration_us / 1e6), p50_us / 1e3, p99_us / 1e3, failures)


async def _run_connection(host, requests, until, times_s) -> int:
    """Send requests until the given time, append the response times, and return the number of failures."""
    name, _, port = host.partition(":")
    reader, writer = await asyncio.open_connection(name, int(port))
    index, failures = random.randrange(len(requests)), 0
    while time.perf_counter() < until:
        index = (index + 1) % len(requests)
        started = time.perf_counter()
        writer.write(requests[index])
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        await reader.readexactly(length)
        times_s.append(time.perf_counter() - started)
        failures += head[9:10] != b"2"
        if b"connection: close" in head.lower():
            reader, writer = await asyncio.open_connection(name, int(port))
    writer.close()
    return failures


async def _run_asyncio(host, requests, seconds, connections) -> LoadResult:
    times_s, started = [], time.perf_counter()
    running = (_run_connection(host, requests, started + seconds, times_s) for _ in range(connections))
    failures = sum(await asyncio.gather(*running))
    elapsed_s, times_s = time.perf_counter() - started, sorted(times_s)
    p50, p99 = (times_s[int(len(times_s) * share)] * 1e3 for share in (0.5, 0.99))
    return LoadResult(len(times_s) / elapsed_s, p50, p99, failures)


if __name__ == "__main__":
    host, file, seconds, connections = sys.argv[1:]
    requests = [text.encode() for text in json.loads(Path(file).read_text())]
    print(json.dumps(vars(asyncio.run(_run_asyncio(host, requests, float(seconds), int(connections))))))
