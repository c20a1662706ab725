"""python -m bench: see the docstring of the package for the method."""

import argparse
import json
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.hot_paths import HOT_PATHS, call_app

HASHES = 5


def parse_arguments():
    from bench.comparison import BARE, OURS
    from bench.peers.stacks import PEERS

    parser = argparse.ArgumentParser("python -m bench", description="Compare the hot paths to a bare Flask view.")
    parser.add_argument("--database", default="sqlite,postgresql", help="the databases, comma-separated")
    parser.add_argument("--only", default=",".join(HOT_PATHS), help="comma-separated paths: " + ", ".join(HOT_PATHS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.5, help="duration per contender and round")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--calls", type=int, default=150, help="calls in process per path and round; 0: none")
    parser.add_argument("--folder", type=Path, default=Path(__file__).parent, help="where results.md is written")
    parser.add_argument("--contenders", default=";".join((*BARE, *OURS)), help="separated by semicolons")
    parser.add_argument("--peers", default=";".join(PEERS), help='other stacks, likewise; "": none')
    options = parser.parse_args()
    options.only, options.contenders = options.only.split(","), options.contenders.split(";")
    options.peers = list(filter(None, options.peers.split(";")))
    if unknown := set(options.only) - set(HOT_PATHS):
        parser.error(f"no such path: {', '.join(unknown)}")
    if unknown := set(options.peers) - set(PEERS):
        parser.error(f"no such peer: {', '.join(unknown)}")
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
    from bench import report
    from bench.peers.stacks import find_missing

    options = parse_arguments()
    started, results, times_us, hash_us = time.monotonic(), {}, {}, 0.0
    profiles, besides_hash = {}, {}
    print(report.describe_machine(), flush=True)
    for name in options.peers:
        if missing := find_missing(name):
            print(f"{name} is not measured: {missing}", flush=True)
    for database in options.database.split(","):
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="streamsvc-bench-")))
            url = stack.enter_context(create_database(database, folder))
            service = prepare_service(url, folder)
            rounds, in_process, hashing_us = measure_database(service, database, options)
            results[database] = rounds
            times_us, hash_us = in_process or times_us, hashing_us or hash_us
            if in_process:
                profiles, besides_hash = explain_missed_goals(service, rounds, times_us, hash_us)
        print(f"\n{database}\n{report.format_comparison(rounds)}", flush=True)
        if database == "sqlite":
            print(f"\n{report.format_peers(rounds)}", flush=True)
    method = (
        f"`python -m bench`: {options.rounds} rounds of {options.seconds} s per server, {options.connections} "
        f"connections, the sandbox off; {(time.monotonic() - started) / 60:.0f} minutes. `µs` is the processor time of "
        "all processes of a server per response, `database µs` that of all of PostgreSQL's. `to bare sync` is that of "
        "bare Flask on gunicorn's sync workers divided by it, as the median of the rounds; `to bare there` the same "
        "for bare Flask on that server. On `fresh`, no responses are kept."
    )
    obstacles = report.format_obstacles(results, profiles, besides_hash)
    options.folder.mkdir(parents=True, exist_ok=True)
    (options.folder / "results.md").write_text(report.format_results(results, times_us, hash_us, obstacles, method))
    (options.folder / "results.svg").write_text(report.format_plot(results))
    print(f"\n{report.format_ratio_goals(results)}")


def prepare_service(url: str, folder: Path, **kwargs):
    """A SeededService on an empty database, as the bench runs it. `kwargs`: see there."""
    from bench import servers
    from bench.seeded_service import SeededService

    env = {"STREAMSVC_DATABASE_URL": url, "STREAMSVC_DATA_DIR": str(folder), "STREAMSVC_TRUSTED_PROXIES": "1"}
    env["BENCH_SAMPLES"] = str(folder / "samples.json")
    return SeededService(servers.environment_without_settings() | env, **kwargs)


def measure_database(service, database: str, options) -> tuple:
    """(rounds over loopback, times in process by path, µs of a password hash); the last two on SQLite only."""
    from bench import comparison

    samples = comparison.check_samples(service, options.only)
    Path(service.env["BENCH_SAMPLES"]).write_text(json.dumps(samples))
    times_us, hash_us = {}, 0.0
    if options.calls and database == "sqlite":
        times_us = comparison.measure_in_process(service, options.only, options.rounds, options.calls)
        hash_us = time_hash(service.app)
    return comparison.measure(service, options), times_us, hash_us


def explain_missed_goals(service, rounds, times_us, hash_us) -> tuple[dict, dict]:
    """The profiles of the paths that miss a goal, and what the others cost besides their hash; both by path."""
    from bench import profiles, report

    in_process = report.missed_in_process(times_us, hash_us)
    paths = dict.fromkeys([goal.path for goal, _ in report.missed_ratios({"sqlite": rounds})] + in_process)
    hashed = [path for path in in_process if path in report.HASHES]
    return (
        {path: profiles.profile_path(service, path) for path in paths},
        {path: profiles.time_besides_hash(service, path, hash_us) for path in hashed},
    )


def time_hash(app) -> float:
    """The processor time of one password hash, in microseconds."""
    from streamsvc.security.password_hashing import hash_password

    with app.app_context():
        hash_password("a long secret 8")
        started = time.process_time()
        for _ in range(HASHES):
            hash_password("a long secret 8")
    return (time.process_time() - started) / HASHES * 1e6


def cpu_time_us(app, requests) -> float:
    """The mean processor time of one request, in microseconds, without building its WSGI environment.

    Processor time, because other load on the machine does not count in it.
    """
    environs = [request.environ() for request in requests]
    started = time.process_time()
    statuses = [call_app(app, environ)[0] for environ in environs]
    elapsed_s = time.process_time() - started
    unexpected = [status for status in statuses if status[0] not in "2" and status[:3] != "304"]
    assert not unexpected, unexpected[0]
    return elapsed_s / len(requests) * 1e6


if __name__ == "__main__":
    main()
