"""The peers of `python -m bench` give streamsvc's answers, or the run fails; then they are timed."""

from types import SimpleNamespace

import pytest

from bench import report, servers
from bench.__main__ import measure_database, prepare_service
from bench.comparison import BASELINE
from bench.peers import answers, bare_wsgi
from bench.peers.answers import DifferentAnswer, check_peers, compare_answers, find_difference
from bench.peers.stacks import PEERS, Peer, find_missing
from tests.conftest import close_app
from tests.worlds.service import seed_demo

pytestmark = pytest.mark.one_database
WITHOUT_EXTRA = ["bare WSGI", "Flask + SQLAlchemy + marshmallow"]


@pytest.fixture(scope="module")
def service(database, new_database, tmp_path_factory):
    if database != "sqlite":
        pytest.skip("peers read SQLite")
    seeded = prepare_service(
        new_database(database, "peers", seed_demo), tmp_path_factory.mktemp("peers"), viewers=60, has_demo=True
    )
    yield seeded
    close_app(seeded.app)


@pytest.fixture(autouse=True)
def one_process(monkeypatch):
    monkeypatch.setattr(servers, "WORKERS", 1)


@pytest.mark.parametrize("name", [name for name in PEERS if name not in WITHOUT_EXTRA])
def test_a_peer_gives_the_same_answers(request, name):
    if missing := find_missing(name):
        pytest.skip(missing)
    check_peers(request.getfixturevalue("service"), [name])


def create_careless_app():
    """The bare WSGI app, which lists titles outside their licence windows."""
    statements = {sort: text.replace("NOT t.windowed", "TRUE") for sort, text in bare_wsgi.LISTS.items()}
    bare_wsgi.LISTS.update(statements)
    return bare_wsgi.app


def test_a_peer_that_does_less_fails_the_run(service, monkeypatch):
    monkeypatch.setitem(PEERS, "careless", Peer("sync", f"{__name__}:create_careless_app()"))
    options = SimpleNamespace(only=["list"], contenders=[], peers=["careless"], rounds=1, calls=0)
    with pytest.raises(DifferentAnswer, match=r"^careless, GET /v1/catalog/titles\?.*: \.items\[\d+\]\.\w+ is "):
        measure_database(service, "sqlite", options)


@pytest.mark.parametrize(
    ("ours", "theirs", "difference"),
    [
        ({"a": [1, {"b": None}]}, {"a": [1.0, {"b": None}]}, None),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, None),
        ({"a": [1, {"b": 2}]}, {"a": [1, {"b": 3}]}, ".a[1].b is 3, streamsvc's is 2"),
        ({"a": 1}, {"a": True}, ".a is true, streamsvc's is 1"),
        ({"a": 1, "b": 2}, {"a": 1}, ".b is only in streamsvc's answer"),
        ({}, {"c": 1}, ".c is only in the peer's answer"),
        ([1], [1, 2], "the answer is [1, 2], streamsvc's is [1]"),
        (None, "x" * 200, f"the answer is \"{'x' * 99}… (202 characters), streamsvc's is null"),
    ],
)
def test_the_first_difference_is_named(ours, theirs, difference):
    assert find_difference(ours, theirs) == difference


def test_peers_are_compared_timed_and_reported(service, monkeypatch):
    seen = []

    def compare_and_record(name, request, ours, theirs):
        compare_answers(name, request, ours, theirs)
        seen.append(ours)

    monkeypatch.setattr(answers, "compare_answers", compare_and_record)
    contenders, paths = [BASELINE, "gunicorn"], ["session", "list-fresh", "verify"]
    options = SimpleNamespace(
        only=paths, contenders=contenders, peers=WITHOUT_EXTRA, rounds=1, seconds=0.2, connections=2, calls=0
    )
    rounds, *_ = measure_database(service, "sqlite", options)
    assert [sorted(rounds[path][0]) for path in paths] == [
        sorted([*contenders, *WITHOUT_EXTRA]), sorted([*contenders, *WITHOUT_EXTRA]), sorted(contenders)
    ]  # fmt: skip
    assert all(turn.load.failures == 0 for turns in rounds.values() for turn in turns[0].values())
    assert_every_kind(seen)
    text = report.format_peers(rounds)
    assert text.count("\n| session | ") == text.count("\n| list-fresh | ") == len(WITHOUT_EXTRA)
    for name in PEERS.keys() - WITHOUT_EXTRA:
        assert f"### {name}\n\nnot measured: " in text
    goals = report.format_ratio_goals({"sqlite": rounds}).splitlines()
    against_fastify = [line for line in goals if "| Fastify + better-sqlite3 |" in line]
    assert len(against_fastify) == 4
    assert all(line.endswith("| not measured |") for line in against_fastify)


def assert_every_kind(seen):
    """The compared responses differ in why a title does not play, in subscriptions, languages and ratings."""
    bodies = [body for _, body in seen if body]
    assert {status for status, _ in seen} == {200, 401, 404}
    reasons = {body["availability"]["reason"] for body in bodies if "availability" in body}
    assert len(reasons) > 2
    statuses = {body["subscription"] and body["subscription"]["status"] for body in bodies if "session" in body}
    assert statuses == {None, "active", "past_due", "paused", "trialing"}
    cards = [card for body in bodies for card in body.get("items", ())]
    assert {"Auf Deutsch"} <= {card["title"] for card in cards}
    assert {"DE", "US"} <= {card["age_rating"]["system"] for card in cards if card["age_rating"]}
