"""python -m bench: see the package's own words on how it measures."""

import argparse
import json
import os
import random
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench import report, servers
from bench.load import load
from bench.paths import PATHS
from bench.world import World

WARM_UP_S = 1
CALLS = 400


def arguments():
    parser = argparse.ArgumentParser("python -m bench", description="The hot paths against a bare Flask constant.")
    parser.add_argument("--database", default="sqlite", help="sqlite, postgresql (one is started), or a URL")
    parser.add_argument("--in-process", action="store_true", help="WSGI calls only")
    parser.add_argument("--over-loopback", action="store_true", help="HTTP only")
    parser.add_argument("--only", default=",".join(PATHS), help="paths, by commas: " + ", ".join(PATHS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2, help="of each contender in each round")
    parser.add_argument("--connections", type=int, default=16)
    asked = parser.parse_args()
    asked.only = asked.only.split(",")
    if unknown := set(asked.only) - set(PATHS):
        parser.error(f"no such path: {', '.join(unknown)}")
    return asked


@contextmanager
def database(kind: str, folder: Path):
    """The URL of an empty database of this kind."""
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'bench.sqlite3'}"
    elif kind == "postgresql":
        from tests.worlds import postgres

        with postgres.postgres_server() as url:
            yield url.format("postgres")
    else:
        yield kind


def main():
    asked = arguments()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="streamsvc-bench-")))
        url = stack.enter_context(database(asked.database, folder))
        print(report.machine(), flush=True)
        env = {"STREAMSVC_DATABASE_URL": url, "STREAMSVC_DATA_DIR": str(folder)}
        world = World(servers.clean_env() | env)
        requests = {path: PATHS[path](world) for path in asked.only}
        samples = {path: sample(world.app, theirs[0]) for path, theirs in requests.items()}
        (folder / "samples.json").write_text(json.dumps(samples))
        os.environ["BENCH_SAMPLES"] = str(folder / "samples.json")
        kind = url.partition(":")[0]
        if not asked.over_loopback:
            rounds = in_process(world, requests, asked)
            print(f"\nIn process, {kind}; processor time, ratio to bare Flask\n{report.in_process(rounds)}", flush=True)
        if not asked.in_process:
            rounds = over_loopback(world, requests, asked, folder)
            shape = f"{servers.WORKERS} workers × {servers.THREADS} threads, {asked.connections} connections"
            print(f"\nOver loopback, {kind}, {shape}; ratio to bare Flask")
            print(report.over_loopback(rounds))


def sample(app, request) -> str:
    """The body of the answer to one request: what the bare view sends too."""
    answer = app.test_client().open(request.environ())
    assert answer.status_code < 300, answer.text
    return answer.text


def over_loopback(world, requests, asked, folder) -> dict:
    rounds = {path: [] for path in requests}
    with (
        servers.gunicorn("streamsvc.app:create_app()", world.env) as ours,
        servers.gunicorn("bench.bare:app", world.env | {"BENCH_SAMPLES": os.environ["BENCH_SAMPLES"]}) as bare,
    ):
        for path, theirs in requests.items():
            contenders = [(ours, [r.raw(ours) for r in theirs]), (bare, bare_requests(path, theirs, bare))]
            for host, raw in contenders:
                load(host, raw, WARM_UP_S, asked.connections, folder)
            for _ in range(asked.rounds):
                world.reset()
                turn = random.sample(contenders, 2)
                told = {host: load(host, raw, asked.seconds, asked.connections, folder) for host, raw in turn}
                rounds[path].append((told[ours], told[bare]))
    return rounds


def bare_requests(path, theirs, host) -> list[bytes]:
    return [type(r)(r.method, f"/{path}", r.token, r.body).raw(host) for r in theirs[:100]]


def in_process(world, requests, asked) -> dict:
    from bench.bare import app as bare

    app = world.app
    rounds = {path: [] for path in requests}
    for path, theirs in requests.items():
        calls = iter_forever(theirs)
        same = [type(r)(r.method, f"/{path}", r.token, r.body) for r in theirs[:1]]
        world.reset()
        spent_us(app, [next(calls) for _ in range(50)])
        for _ in range(asked.rounds):
            world.reset()
            turn = [(app, [next(calls) for _ in range(CALLS)]), (bare, same * CALLS)]
            random.shuffle(turn)
            told = {which: spent_us(which, batch) for which, batch in turn}
            rounds[path].append((told[app], told[bare]))
    return rounds


def iter_forever(theirs):
    while True:
        yield from theirs


def spent_us(app, requests) -> float:
    """Microseconds of processor time that one of these requests takes, on average.

    Processor time, because what else the machine does does not count in it. Making the environments is left out.
    """
    environs, started = [request.environ() for request in requests], []
    began = time.process_time()
    for environ in environs:
        body = app.wsgi_app(environ, lambda status, headers, _=None: started.append(status))
        for _ in body:
            pass
        body.close()
    spent = time.process_time() - began
    assert all(status[0] == "2" for status in started), next(s for s in started if s[0] != "2")
    return spent / len(requests) * 1e6


if __name__ == "__main__":
    main()
