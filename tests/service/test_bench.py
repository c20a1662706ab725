"""What `make bench` calls works: every path in process on both databases, and over loopback with its report."""

import re
from types import SimpleNamespace

import pytest

from bench import profiles, report, servers, subscriber_import
from bench.__main__ import cpu_time_us, explain_missed_goals, measure_database, prepare_service
from bench.capacity import EVENING, plan_capacity, read_costs, simulate_node
from bench.comparison import BASELINE, check_samples, measure_in_process
from bench.goals import Goal
from bench.hot_paths import HOT_PATHS, Request, call_app
from tests.conftest import close_app
from tests.worlds.service import seed_demo


@pytest.mark.one_database
@pytest.mark.parametrize("path", ["/v1/plans", "/livez"])
def test_a_bench_calls_the_app(app, path):
    status, body = call_app(app, Request("GET", path).environ())
    assert (status, body[:1]) == ("200 OK", b"{")
    assert cpu_time_us(app, [Request("GET", path)]) > 0


@pytest.fixture(scope="module")
def service(database, new_database, tmp_path_factory):
    seeded = prepare_service(
        new_database(database, "bench", seed_demo), tmp_path_factory.mktemp("bench"), viewers=60, has_demo=True
    )
    yield seeded
    close_app(seeded.app)


@pytest.mark.either_database
def test_every_path_succeeds_and_takes_time(service):
    paths = [path for path in HOT_PATHS if not path.startswith("sign-")]
    assert all(check_samples(service, list(HOT_PATHS)).values())
    times_us = measure_in_process(service, paths, rounds=1, calls=2)
    assert all(time_us > 0 for of_path in times_us.values() for time_us in of_path)


def test_the_processor_time_of_postgresql_is_found(service, database):
    postmaster = servers.find_postmaster(service.env["STREAMSVC_DATABASE_URL"])
    assert (servers.database_cpu_s(postmaster) > 0) == (database == "postgresql")


@pytest.mark.one_database
def test_a_short_run_is_reported_without_failures(service, monkeypatch, tmp_path):
    monkeypatch.setattr(servers, "WORKERS", 1)
    contenders, paths = [BASELINE, "granian"], ["session", "list-304", "verify", "sign-up"]
    options = SimpleNamespace(
        only=paths, contenders=contenders, peers=[], rounds=1, seconds=0.2, connections=2, calls=0
    )
    rounds, *_ = measure_database(service, "sqlite", options)
    assert {path: turns[name].load.failures for path in paths for turns in rounds[path] for name in contenders} == (
        dict.fromkeys(paths, 0)
    )
    text = report.format_comparison(rounds)
    assert text.count("\n| ") == len(paths) * len(contenders)
    (tmp_path / "results.md").write_text(f"# What the hot paths cost\n\n## postgresql\n\n{text}\n")
    assert read_costs(tmp_path / "results.md", "granian").keys() == set(paths)
    monkeypatch.setattr(report, "OURS", ["granian"])
    monkeypatch.setattr(report, "RATIOS", [Goal("session", "sqlite", gunicorn=99, granian=99)])
    monkeypatch.setattr(profiles, "CALLS", 5)
    monkeypatch.setattr(profiles, "HASHING_CALLS", 1)
    monkeypatch.setattr(profiles, "FUNCTIONS", 500)
    slow_times_us = {"session": [1e9], "sign-up": [1e9]}
    obstacles = report.format_obstacles(
        {"sqlite": rounds}, *explain_missed_goals(service, rounds, slow_times_us, hash_us=1.0)
    )
    for row in ("session | sqlite | granian", "sign-up", "session | streamsvc/http/hot_reads.py"):
        assert f"\n| {row}" in "\n".join(obstacles)


@pytest.mark.one_database
def test_a_node_that_is_busy_answers_late_and_one_with_more_cores_in_time():
    costs = dict.fromkeys(EVENING, (2_000.0, 1_000.0))
    plan = plan_capacity(1_000_000, costs)
    assert plan.web_cores == pytest.approx(2 * plan.database_cores)
    waits = [simulate_node(500, costs, cores, seconds=20)[-100] for cores in (1, 2, 8)]
    assert waits[0] > 10 * waits[1] > 10 * waits[2] / 2


@pytest.mark.one_database
def test_an_import_of_subscribers_is_timed(database, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["bench.subscriber_import", "20"])
    subscriber_import.main()
    assert re.fullmatch(r"\d+ lines per processor second, \d\.\d\d statements each\n", capsys.readouterr().out)
