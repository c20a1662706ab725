"""python -m bench: see the docstring of the package for the method."""

import argparse
import itertools
import json
import os
import random
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench import report, servers
from bench.hot_paths import HOT_PATHS, call_app
from bench.load import run_load
from bench.seeded_service import SeededService

WARM_UP_S = 1
CALLS_PER_ROUND = 400


def parse_arguments():
    parser = argparse.ArgumentParser("python -m bench", description="Compare the hot paths to a bare Flask view.")
    parser.add_argument("--database", default="sqlite", help="sqlite, postgresql (started for the run), or a URL")
    parser.add_argument("--in-process", action="store_true", help="only WSGI calls")
    parser.add_argument("--over-loopback", action="store_true", help="only HTTP")
    parser.add_argument("--only", default=",".join(HOT_PATHS), help="comma-separated paths: " + ", ".join(HOT_PATHS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2, help="duration per contender and round")
    parser.add_argument("--connections", type=int, default=16)
    options = parser.parse_args()
    options.only = options.only.split(",")
    if unknown := set(options.only) - set(HOT_PATHS):
        parser.error(f"no such path: {', '.join(unknown)}")
    return options


@contextmanager
def create_database(kind: str, folder: Path):
    """Yield the URL of an empty database: `kind` is sqlite, postgresql, or a URL, which is used as it is."""
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'bench.sqlite3'}"
    elif kind == "postgresql":
        from tests.worlds import postgres

        with postgres.postgres_server() as url:
            yield url.format("postgres")
    else:
        yield kind


def main():
    options = parse_arguments()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="streamsvc-bench-")))
        url = stack.enter_context(create_database(options.database, folder))
        print(report.describe_machine(), flush=True)
        env = {"STREAMSVC_DATABASE_URL": url, "STREAMSVC_DATA_DIR": str(folder)}
        service = SeededService(servers.environment_without_settings() | env)
        requests = {path: HOT_PATHS[path](service) for path in options.only}
        samples = {path: sample_body(service.app, of_path[0]) for path, of_path in requests.items()}
        (folder / "samples.json").write_text(json.dumps(samples))
        os.environ["BENCH_SAMPLES"] = str(folder / "samples.json")
        dialect = url.partition(":")[0]
        if not options.over_loopback:
            rounds = measure_in_process(service, requests, options)
            table = report.format_in_process_table(rounds)
            print(f"\nIn process, {dialect}; processor time, ratio to bare Flask\n{table}", flush=True)
        if not options.in_process:
            rounds = measure_over_loopback(service, requests, options, folder)
            setup = f"{servers.WORKERS} workers × {servers.THREADS} threads, {options.connections} connections"
            print(f"\nOver loopback, {dialect}, {setup}; ratio to bare Flask")
            print(report.format_loopback_table(rounds))


def sample_body(app, request) -> str:
    """The body of the response to one request, which the bare view returns too."""
    response = app.test_client().open(request.environ())
    assert response.status_code < 300, response.text
    return response.text


def measure_over_loopback(service, requests, options, folder) -> dict:
    """Path → [(streamsvc's LoadResult, the bare view's)] over HTTP."""
    rounds = {path: [] for path in requests}
    bare_env = service.env | {"BENCH_SAMPLES": os.environ["BENCH_SAMPLES"]}
    with (
        servers.run_gunicorn("streamsvc.app:create_app()", service.env) as streamsvc,
        servers.run_gunicorn("bench.bare:app", bare_env) as bare,
    ):
        for path, of_path in requests.items():
            contenders = [
                (streamsvc, [request.encode(streamsvc) for request in of_path]),
                (bare, [request.encode(bare) for request in bare_requests(path, of_path[:100])]),
            ]
            for host, encoded in contenders:
                run_load(host, encoded, WARM_UP_S, options.connections, folder)
            for _ in range(options.rounds):
                service.reset_streams()
                results = {
                    host: run_load(host, encoded, options.seconds, options.connections, folder)
                    for host, encoded in random.sample(contenders, 2)
                }
                rounds[path].append((results[streamsvc], results[bare]))
    return rounds


def bare_requests(path, requests) -> list:
    """The same requests, addressed to the bare view."""
    return [type(request)(request.method, f"/{path}", request.token, request.body) for request in requests]


def measure_in_process(service, requests, options) -> dict:
    """Path → [(streamsvc's µs a request, the bare view's)] by WSGI calls."""
    from bench.bare import app as bare

    app = service.app
    rounds = {path: [] for path in requests}
    for path, of_path in requests.items():
        endless, constant = itertools.cycle(of_path), bare_requests(path, of_path[:1])
        service.reset_streams()
        cpu_time_us(app, list(itertools.islice(endless, 50)))
        for _ in range(options.rounds):
            service.reset_streams()
            batches = [(app, list(itertools.islice(endless, CALLS_PER_ROUND))), (bare, constant * CALLS_PER_ROUND)]
            random.shuffle(batches)
            times_us = {contender: cpu_time_us(contender, batch) for contender, batch in batches}
            rounds[path].append((times_us[app], times_us[bare]))
    return rounds


def cpu_time_us(app, requests) -> float:
    """The mean processor time of one request, in microseconds, without building its WSGI environment.

    Processor time, because other load on the machine does not count in it.
    """
    environs = [request.environ() for request in requests]
    started = time.process_time()
    statuses = [call_app(app, environ)[0] for environ in environs]
    elapsed_s = time.process_time() - started
    assert all(status[0] == "2" for status in statuses), next(s for s in statuses if s[0] != "2")
    return elapsed_s / len(requests) * 1e6


if __name__ == "__main__":
    main()
