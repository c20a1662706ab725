"""Measures the hot paths on several servers that run at the same time and take turns."""

import itertools
import random
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

from bench import servers
from bench.goals import BASELINE, HASHES
from bench.hot_paths import HOT_PATHS, HotPath, Request, add_etags
from bench.load import LoadResult, run_load
from bench.peers.answers import check_peers, peer_environment
from bench.peers.stacks import PATHS as PEER_PATHS
from bench.peers.stacks import PEERS, list_measurable
from bench.seeded_service import SeededService, keep_no_responses

BARE = {BASELINE: "sync", "bare Flask, gunicorn": "gunicorn", "bare Flask, granian": "plain granian"}
"""Contender → the kind of its server."""
OURS = ("gunicorn", "granian")
WARM_UP_S = 0.2
APP, FRESH_APP = "streamsvc.app:create_app()", "bench.seeded_service:create_app_without_kept_responses()"


@dataclass(frozen=True)
class Turn:
    """One server's turn on one path. Times are processor time per response, of the server and of PostgreSQL."""

    server_us: float
    database_us: float
    load: LoadResult


Rounds = dict[str, list[dict[str, Turn]]]
"""Path → for each round the turns by contender."""


def run_contenders(service: SeededService, options, stack: ExitStack) -> dict[str, servers.Server]:
    """Start the servers; those of the service that keep no responses are named `gunicorn fresh`, `granian fresh`."""
    running = {}
    for name, kind in BARE.items():
        if name in options.contenders:
            running[name] = stack.enter_context(servers.run_server(kind, "bench.bare:app", service.env))
    for kind in OURS:
        if kind in options.contenders:
            running[kind] = stack.enter_context(servers.run_server(kind, APP, service.env))
            if any(HOT_PATHS[path].is_fresh for path in options.only):
                running[f"{kind} fresh"] = stack.enter_context(servers.run_server(kind, FRESH_APP, service.env))
    env = peer_environment(service.env, service.app)
    for name in choose_peers(service, options):
        running[name] = stack.enter_context(servers.run_server(PEERS[name].kind, PEERS[name].app, env))
    return running


def choose_peers(service: SeededService, options) -> list[str]:
    """The peers of the run: they read SQLite, and know some of the paths."""
    is_sqlite = service.env["STREAMSVC_DATABASE_URL"].startswith("sqlite")
    return list_measurable(options.peers) if is_sqlite and set(options.only) & set(PEER_PATHS) else []


def measure(service: SeededService, options) -> Rounds:
    """Send the requests of each path to all servers, in turns of random order.

    Raises DifferentAnswer if a peer does not give the same answers.
    """
    rounds: Rounds = {path: [] for path in options.only}
    if peers := choose_peers(service, options):
        check_peers(service, peers)
    with ExitStack() as stack:
        running = run_contenders(service, options, stack)
        postmaster = servers.find_postmaster(service.env["STREAMSVC_DATABASE_URL"])
        for path in options.only:
            hot_path = HOT_PATHS[path]
            ours = prepare_requests(service, hot_path)
            bare = [Request(request.method, f"/{path}", request.token, request.body) for request in ours[:100]]
            turns = {
                name: (server, itertools.cycle([r.encode(server.host) for r in bare]))
                for name, server in running.items()
                if name in BARE
            }
            shared = itertools.cycle(ours)
            for kind in running.keys() & OURS:
                server = running[f"{kind} fresh" if hot_path.is_fresh else kind]
                turns[kind] = server, encode_for(server.host, shared)
            for name in running.keys() & PEERS if path in PEER_PATHS else ():
                turns[name] = running[name], encode_for(running[name].host, shared)
            connections = hot_path.connections or options.connections
            for name, (server, requests) in turns.items():
                warm_up(server, requests, connections, PEERS[name].warm_up if name in PEERS else 0)
            for _ in range(options.rounds):
                service.reset()
                names = random.sample(list(turns), len(turns))
                rounds[path].append(
                    {name: take_turn(*turns[name], postmaster, options.seconds, connections) for name in names}
                )
    return rounds


def warm_up(server: servers.Server, requests: Iterator[bytes], connections: int, least: int) -> None:
    """Put a server under load for WARM_UP_S, and then until it has responded to `least` requests."""
    count = 0
    while count == 0 or count < least:
        count += run_load(server.host, requests, WARM_UP_S, connections).count


def encode_for(host: str, requests: Iterator[Request]) -> Iterator[bytes]:
    for request in requests:
        yield request.encode(host)


def prepare_requests(service: SeededService, hot_path: HotPath) -> list[Request]:
    requests = hot_path.requests(service)
    return add_etags(service.app, requests) if hot_path.is_conditional else requests


def take_turn(server: servers.Server, requests: Iterator[bytes], postmaster, seconds: float, connections: int) -> Turn:
    """Put a server under load, and return the processor time of a response."""
    before, database_before = server.cpu_s(), servers.database_cpu_s(postmaster)
    load = run_load(server.host, requests, seconds, connections)
    used, database_used = server.cpu_s() - before, servers.database_cpu_s(postmaster) - database_before
    return Turn(used / load.count * 1e6, database_used / load.count * 1e6, load)


def check_samples(service: SeededService, paths: list[str]) -> dict[str, str]:
    """Path → the body of a response, which the bare view returns too. Raises AssertionError if it is no success."""
    samples = {}
    for path in paths:
        request = prepare_requests(service, HOT_PATHS[path])[0]
        response = service.app.test_client().open(request.environ())
        assert response.status_code < 400, f"{path}: {response.text}"
        samples[path] = response.text if response.status_code == 200 else "{}"
    return samples


def measure_in_process(service: SeededService, paths: list[str], rounds: int, calls: int) -> dict[str, list[float]]:
    """Path → µs of processor time of a call, by round; all paths take turns."""
    from bench.__main__ import cpu_time_us

    times_us: dict[str, list[float]] = {path: [] for path in paths}
    requests = {path: itertools.cycle(prepare_requests(service, HOT_PATHS[path])) for path in paths}
    for number in range(rounds + 1):
        for path in random.sample(paths, len(paths)):
            service.reset()
            service.app.extensions.pop("kept_responses", None)
            if HOT_PATHS[path].is_fresh:
                keep_no_responses(service.app)
            else:
                cpu_time_us(service.app, list(itertools.islice(requests[path], 60)))
            count = calls // 5 if path in HASHES else calls
            taken = cpu_time_us(service.app, list(itertools.islice(requests[path], max(1, count))))
            if number:  # the first round warms up
                times_us[path].append(taken)
    return times_us
