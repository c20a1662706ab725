"""Load: so many connections that send one request after the other, for so long. By wrk, else by asyncio.

python -m bench.load HOST:PORT FILE SECONDS CONNECTIONS        (the asyncio one; FILE holds raw requests as JSON)
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
local at = {start}
request = function()
  at = at % #requests + 1
  return requests[at]
end
done = function(summary, latency)
  io.write(string.format("RESULT %d %d %d %d %d\\n", summary.requests, summary.duration,
    summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.timeout,
    latency:percentile(50), latency:percentile(99)))
end
"""


@dataclass(frozen=True)
class Round:
    """What one round came to. `wrong`: answers that were no success, and requests without one."""

    per_second: float
    p50_ms: float
    p99_ms: float
    wrong: int


def load(host: str, requests: list[bytes], seconds: float, connections: int, folder: Path) -> Round:
    """One round of load."""
    if shutil.which("wrk"):
        return _by_wrk(host, requests, seconds, connections, folder)
    file = folder / "requests.json"
    file.write_text(json.dumps([raw.decode() for raw in requests]))
    command = [sys.executable, "-m", "bench.load", host, str(file), str(seconds), str(connections)]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return Round(**json.loads(told))


def _by_wrk(host, requests, seconds, connections, folder):
    file, script = folder / "requests.txt", folder / "load.lua"
    file.write_text("\n".join(raw.decode().replace("\r", "\\r").replace("\n", "\\n") for raw in requests))
    script.write_text(SCRIPT.format(file=file, start=random.randrange(len(requests))))
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "-s", str(script), f"http://{host}/"]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    count, spent_us, wrong, p50_us, p99_us = map(int, told.rpartition("RESULT ")[2].split())
    return Round(count / (spent_us / 1e6), p50_us / 1e3, p99_us / 1e3, wrong)


async def _connection(host, requests, until, took, wrong):
    name, _, port = host.partition(":")
    reader, writer = await asyncio.open_connection(name, int(port))
    at = random.randrange(len(requests))
    while time.perf_counter() < until:
        at = (at + 1) % len(requests)
        began = time.perf_counter()
        writer.write(requests[at])
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        await reader.readexactly(length)
        took.append(time.perf_counter() - began)
        wrong[0] += head[9:10] != b"2"
        if b"connection: close" in head.lower():
            reader, writer = await asyncio.open_connection(name, int(port))
    writer.close()


async def _all(host, requests, seconds, connections):
    took, wrong = [], [0]
    began = time.perf_counter()
    await asyncio.gather(*(_connection(host, requests, began + seconds, took, wrong) for _ in range(connections)))
    spent, took = time.perf_counter() - began, sorted(took)
    p50, p99 = (took[int(len(took) * share)] * 1e3 for share in (0.5, 0.99))
    return Round(len(took) / spent, p50, p99, wrong[0])


if __name__ == "__main__":
    where, file, seconds, connections = sys.argv[1:]
    given = [text.encode() for text in json.loads(Path(file).read_text())]
    print(json.dumps(vars(asyncio.run(_all(where, given, float(seconds), int(connections))))))
