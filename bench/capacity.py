"""python -m bench.capacity VIEWERS…: nodes, cores, connections and storage for so many viewers.

The processor time of each request is that of bench/results.md, which `python -m bench` writes; how viewers behave is
`EVENING`. A simulated minute of the busiest hour then checks that requests do not wait at the load that the plan gives
each node: Poisson arrivals, one queue, the measured times, as many servers as the node has cores.
"""

import argparse
import heapq
import random
import re
from dataclasses import dataclass
from pathlib import Path

from streamsvc.rules.connections import node_connections
from streamsvc.settings import Settings

RESULTS = Path(__file__).with_name("results.md")
SERVER = "gunicorn"
CORES_PER_NODE = 8
LOAD = 0.6
"""How busy a core may be in the busiest hour."""
EVENING = {
    "heartbeat": 1 / 30,
    "playback": 1 / 2_400,
    "session": 1 / 600,
    "home": 1 / 900,
    "list": 1 / 300,
    "title": 1 / 300,
    "search": 1 / 900,
    "progress": 1 / 3_600,
}
"""Requests per second of a viewer who is watching or choosing in the busiest hour, by path of the bench."""
AT_ONCE = 0.1
"""The share of viewers who are there in the busiest hour."""
BYTES_PER_SUBSCRIPTION_YEAR, BYTES_PER_PLAY, PLAYS_PER_DAY = 31_400, 1_370, 1
"""What SQLite's file grows by: 300 subscribers more in `python -m bench.simulate 400 12`; a stream and its play."""
WRITES = ("heartbeat", "playback", "progress")


@dataclass(frozen=True)
class Plan:
    """What a number of viewers needs in the busiest hour."""

    viewers: int
    requests_per_s: float
    writes_per_s: float
    web_cores: float
    database_cores: float
    nodes: int
    connections: int
    storage_gib: float


def read_costs(path: Path, server: str = SERVER) -> dict[str, tuple[float, float]]:
    """Return by path the µs of the web process and those of PostgreSQL. Raises SystemExit without results."""
    if not path.exists():
        raise SystemExit(f"{path} does not exist; `python -m bench` writes it (ten minutes)")
    text = path.read_text()
    section = re.search(r"^## .*postgresql.*?$(.*?)(^## |\Z)", text, re.M | re.S | re.I)
    if section is None:
        raise SystemExit(f"{path} has no figures for PostgreSQL")
    costs = {}
    for line in section[1].splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) > 4 and cells[1] == server:
            costs[cells[0]] = float(cells[2]), float(cells[3] or 0)
    return costs


def plan_capacity(viewers: int, costs: dict[str, tuple[float, float]]) -> Plan:
    """Return what so many viewers need."""
    watching = viewers * AT_ONCE
    rates = {path: watching * rate for path, rate in EVENING.items()}
    web = sum(rate * costs[path][0] / 1e6 for path, rate in rates.items()) / LOAD
    database = sum(rate * costs[path][1] / 1e6 for path, rate in rates.items()) / LOAD
    nodes = max(2, -int(-web // CORES_PER_NODE))
    return Plan(
        viewers=viewers,
        requests_per_s=sum(rates.values()),
        writes_per_s=sum(rates[path] for path in WRITES),
        web_cores=web,
        database_cores=database,
        nodes=nodes,
        connections=nodes * node_connections(CORES_PER_NODE, Settings().threads),
        storage_gib=viewers * (BYTES_PER_SUBSCRIPTION_YEAR + 365 * PLAYS_PER_DAY * BYTES_PER_PLAY) / 2**30,
    )


def simulate_node(
    requests_per_s: float, costs: dict[str, tuple[float, float]], cores: int, seconds: float, seed: int = 1
) -> list[float]:
    """Return the sorted times, in ms, of the requests of a node: their waits for a core, and their processor time."""
    chance, now, free_at, times_ms = random.Random(seed), 0.0, [0.0] * cores, []
    paths, weights = list(EVENING), list(EVENING.values())
    while (now := now + chance.expovariate(requests_per_s)) < seconds:
        [path] = chance.choices(paths, weights)
        began = max(now, heapq.heappop(free_at))
        ended = began + chance.expovariate(1) * costs[path][0] / 1e6
        heapq.heappush(free_at, ended)
        times_ms.append((ended - now) * 1e3)
    return sorted(times_ms)


def format_plans(plans: list[Plan]) -> str:
    rows = ["| viewers | requests/s | writes/s | web cores | nodes | database cores | connections | GiB a year |"]
    rows.append("|--:" * 8 + "|")
    for plan in plans:
        rows.append(
            f"| {plan.viewers:,} | {plan.requests_per_s:,.0f} | {plan.writes_per_s:,.0f} | {plan.web_cores:,.1f} | "
            f"{plan.nodes:,} | {plan.database_cores:,.1f} | {plan.connections:,} | {plan.storage_gib:,.1f} |"
        )
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser("python -m bench.capacity", description="Plan for a number of viewers.")
    parser.add_argument("viewers", nargs="*", type=int, default=[10_000, 1_000_000, 100_000_000])
    parser.add_argument("--seconds", type=float, default=60, help="how long a node is simulated")
    parser.add_argument("--results", type=Path, default=RESULTS, help="of `python -m bench`")
    options = parser.parse_args()
    costs = read_costs(options.results)
    plans = [plan_capacity(viewers, costs) for viewers in options.viewers]
    print(format_plans(plans))
    for plan in plans:
        times_ms = simulate_node(plan.requests_per_s / plan.nodes, costs, CORES_PER_NODE, options.seconds)
        p50, p99 = (times_ms[int(len(times_ms) * share)] for share in (0.5, 0.99))
        print(f"{plan.viewers:,} viewers: {len(times_ms):,} requests of one node, p50 {p50:.2f} ms, p99 {p99:.2f} ms")


if __name__ == "__main__":
    main()
