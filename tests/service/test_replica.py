"""A real streaming standby: what is read from it and what is not, and that it may lag, hang or be gone."""

import itertools
import json
import logging
import time
from contextlib import contextmanager

import pytest
from sqlalchemy.exc import OperationalError

from streamsvc.cli.doctor import doctor
from streamsvc.operations.catalog.reading.version import current_catalog_version
from streamsvc.rules.catalog.codes import COUNTRIES
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.settings import Settings, SettingsError
from streamsvc.storage import replica
from streamsvc.storage.compiled_statements import _thread
from streamsvc.storage.database import reading_engine
from tests.conftest import Clock, build_app, close_app, migrate_database
from tests.worlds.channel_steps import LiveWorld
from tests.worlds.frozen_postgres import FreezablePostgres
from tests.worlds.playback_steps import CARTOON, FILM, World
from tests.worlds.service import wait_until
from tests.worlds.standby import execute, has_programs, kill, primary_and_standby

pytestmark = [
    pytest.mark.one_database,
    pytest.mark.skipif(not has_programs(), reason="PostgreSQL's pg_basebackup is missing"),
]
MAX_LAG_S = 5
BUDGET_S = 2.5
"""How long a read may take that finds the standby hanging."""


@pytest.fixture(autouse=True)
def patience():
    """Have none: these tests are about servers that hang."""


@pytest.fixture(scope="module")
def servers():
    with primary_and_standby(log_statement="all") as (primary, standby):
        primary.database = primary.url.format("replicated")
        execute(primary.url.format("postgres"), "CREATE DATABASE replicated")
        migrate_database(primary.database)
        yield primary, standby


@pytest.fixture
def standby(servers):
    return servers[1]


@pytest.fixture(scope="module")
def app(servers):
    primary, standby = servers
    app = build_app(
        primary.database,
        Clock(),
        database_replica_url=standby.url.format("replicated"),
        database_replica_max_lag_s=MAX_LAG_S,
    )
    yield app
    close_app(app)


@pytest.fixture(scope="module")
def world(app):
    world = LiveWorld(app)
    world.put_titles(FILM, CARTOON)
    world.price = world.put_plan()
    return world


@pytest.fixture
def viewer(world):
    use_replica(world.app)
    return world.household(world.price)


def use_replica(app):
    """Wait until the app reads from the standby."""
    known = app.extensions["replica"]
    with app.app_context():
        wait_until(known.is_usable)
    return known


@contextmanager
def paused_replay(standby, app):
    """Have the standby replay nothing within the block."""
    standby.execute("SELECT pg_wal_replay_pause()")
    try:
        wait_until(lambda: standby.execute("SELECT pg_get_wal_replay_pause_state()") == [("paused",)])
        yield
    finally:
        standby.execute("SELECT pg_wal_replay_resume()")
    use_replica(app)


class Reads:
    """Which servers the reads of a block came from, and what the standby was asked for."""

    def __init__(self, standby):
        self.standby, self.servers = standby, []

    def note(self, _, server):
        self.servers.append(server)

    def __enter__(self):
        self.start = len(self.log())
        replica.read_finished.connect(self.note)
        return self

    def __exit__(self, *_):
        replica.read_finished.disconnect(self.note)
        self.statements = self.log()[self.start :]

    def log(self):
        return (self.standby.folder / "server.log").read_text()


def add_title(world, name):
    """Put one more title; returns its id."""
    world.put_titles(FILM | {"external_id": name, "title": name})
    return world.ids[name]


def test_the_catalogue_is_read_from_the_standby_and_the_session_from_the_primary(standby, viewer):
    add_title(viewer.world, "one more")
    limits = itertools.count(20)  # each response is kept, so that the next one is read only if it is another
    with Reads(standby) as reads:

        def list_titles():
            return viewer.get(f"/v1/catalog/titles?limit={next(limits)}")

        response = wait_until(lambda: read_on_replica(reads, list_titles))
    assert {"A Film", "one more"} <= {item["title"] for item in response.json["items"]}
    assert "title_cards" in reads.statements
    for table in ("sessions", "accounts", "subscriptions"):
        assert f"FROM {table}" not in reads.statements and f"JOIN {table}" not in reads.statements, table


def read_on_replica(reads, send):
    """The response of a read of the standby; None while the standby has not replayed all of it."""
    reads.servers.clear()
    response = send()
    return response if set(reads.servers) == {"replica"} else None


def test_every_edit_is_in_the_very_next_response(viewer):
    for number in range(20):
        title_id = add_title(viewer.world, f"edited {number}")
        assert viewer.get(f"/v1/catalog/titles/{title_id}").json["title"] == f"edited {number}"
        change = FILM | {"external_id": f"edited {number}", "title": f"changed {number}"}
        viewer.world.put_titles(change)
        assert viewer.get(f"/v1/catalog/titles/{title_id}").json["title"] == f"changed {number}"


def test_what_a_viewer_saves_is_in_their_next_response_and_in_no_other_accounts(standby, viewer):
    other = viewer.world.household(viewer.world.price)
    items = [add_title(viewer.world, f"own {number}") for number in range(20)]
    with Reads(standby) as reads:
        for number, item_id in enumerate(items, 1):
            assert viewer.put(f"/v1/profiles/{viewer.profile_id}/watchlist/{item_id}").status_code in (200, 201, 204)
            page = viewer.get(f"/v1/profiles/{viewer.profile_id}/watchlist?limit=50").json["items"]
            assert {item["item_id"] for item in page} == set(items[:number])
    assert "replica" in reads.servers, "and yet the standby was read"
    assert other.get(f"/v1/profiles/{other.profile_id}/watchlist").json["items"] == []


_numbers = itertools.count(1)
CHANNEL = "/v1/catalog/channels/{news}"


@pytest.mark.parametrize(
    ("path", "table"),
    [
        ("/v1/catalog/channels", "channels"),
        (CHANNEL, "channels"),
        (f"{CHANNEL}/programmes", "programmes"),
        ("/v1/catalog/programmes", "programmes"),
        ("/v1/catalog/search?q=show&kinds=programme", "programmes"),
    ],
)
def test_channels_and_their_guide_are_read_from_the_standby_with_what_was_just_imported(standby, viewer, path, table):
    world = viewer.world
    world.put_channel()

    def import_and_read():
        programme = f"Show {next(_numbers)}"
        world.put_guide((programme, -5, 60))
        response = viewer.get(path.format_map(world.ids))
        assert f'"{programme}"' in response.text
        return response

    with Reads(standby) as reads:
        wait_until(lambda: read_on_replica(reads, import_and_read))
    assert f"FROM {table}" in reads.statements or f"JOIN {table}" in reads.statements


def test_a_channel_and_a_programme_are_not_read_from_a_standby_that_lacks_them(standby, viewer):
    world, path = viewer.world, "/v1/catalog/channels"
    world.put_channel("sport")
    with Reads(standby) as reads:
        wait_until(lambda: read_on_replica(reads, lambda: viewer.get(path)))
    with paused_replay(standby, world.app), Reads(standby) as reads:
        world.put_channel("sport", name="New name")
        world.put_guide(("Kick-off", -5, 60), channel="sport")
        response = viewer.get(f"{path}/{world.ids['sport']}").json
        assert (response["name"], response["now"]["title"]) == ("New name", "Kick-off")
        assert "Kick-off" in viewer.get("/v1/catalog/programmes").text
        assert reads.servers == ["primary"] * 2


def test_a_drawn_poster_is_read_from_the_standby_and_has_the_titles_new_name(standby, viewer):
    names = (f"name{number}" for number in itertools.count())

    def rename_and_read():
        name = next(names)
        viewer.world.put_titles(FILM | {"external_id": "poster", "title": name})
        response = viewer.get(f"/v1/catalog/titles/{viewer.world.ids['poster']}/poster.svg")
        assert name in response.text
        return response

    with Reads(standby) as reads:
        wait_until(lambda: read_on_replica(reads, rename_and_read))


class Home:
    """The home page of a viewer's profile, each time under another address, since responses are kept."""

    def __init__(self, viewer):
        self.viewer, self.countries = viewer, iter(sorted(COUNTRIES))

    def get(self):
        return self.viewer.get(f"/v1/catalog/home?country={next(self.countries)}")

    def report(self, item_id, position_s):
        body = {"position_s": position_s, "duration_s": 6000, "at": self.viewer.world.clock().isoformat()}
        response = self.viewer.put(f"/v1/profiles/{self.viewer.profile_id}/progress/{item_id}", body)
        assert response.status_code == 200, response.json


def continued(response):
    """Return (item, position) of each item in "Continue watching"."""
    rows = {row["kind"]: row["items"] for row in response.json["items"]}
    return [(item["item_id"], item["progress"]["position_s"]) for item in rows.get("continue", [])]


def test_the_home_page_of_a_profile_is_read_from_the_standby_with_the_position_just_reported(standby, viewer):
    home, other, item_id = Home(viewer), Home(viewer.world.household()), add_title(viewer.world, "begun")
    for position_s in range(600, 1600, 100):
        home.report(item_id, position_s)
        assert continued(home.get()) == [(item_id, position_s)]
    with Reads(standby) as reads:
        response = wait_until(lambda: read_on_replica(reads, home.get))
    assert continued(response) == [(item_id, 1500)]
    assert "FROM progress" in reads.statements
    assert continued(other.get()) == []


def test_only_the_home_page_that_the_standby_lacks_is_read_from_the_primary(standby, viewer):
    home, other, item_id = Home(viewer), Home(viewer.world.household()), add_title(viewer.world, "in the pause")
    with Reads(standby) as reads:
        for page in (home, other):
            wait_until(lambda page=page: read_on_replica(reads, page.get))
    with paused_replay(standby, viewer.world.app), Reads(standby) as reads:
        home.report(item_id, 700)
        assert continued(home.get()) == [(item_id, 700)]
        assert reads.servers == ["primary"]
        wait_until(lambda: read_on_replica(reads, other.get))


def test_reports_and_exports_are_read_from_the_standby_with_what_was_just_paid(standby, viewer):
    operator = viewer.world.operator
    newest = viewer.world.household(viewer.world.price)
    with Reads(standby) as reads:
        report = wait_until(lambda: read_on_replica(reads, lambda: operator.get("/v1/admin/reports/revenue")))
        lines = operator.get("/v1/admin/exports/accounts.ndjson").text
    assert report.json["revenue"] and newest.account_id in lines
    assert "FROM ledger_entries" in reads.statements and "FROM accounts" in reads.statements


def test_a_standby_that_replays_no_more_is_not_read(standby, viewer, caplog):
    known, path = viewer.world.app.extensions["replica"], f"/v1/profiles/{viewer.profile_id}/watchlist"
    with Reads(standby) as reads:
        wait_until(lambda: read_on_replica(reads, lambda: viewer.get(path)))
    with paused_replay(standby, viewer.world.app):
        title_id = add_title(viewer.world, "after the pause")
        with Reads(standby) as reads:
            assert viewer.get(f"/v1/catalog/titles/{title_id}").json["title"] == "after the pause"
            viewer.put(f"{path}/{title_id}")
            own = viewer.get(path).json["items"]
            assert [item["item_id"] for item in own] == [title_id]
        assert reads.servers == ["primary"] * len(reads.servers), "it is not known to lag, and lacks these"
        with caplog.at_level(logging.WARNING):
            wait_until(lambda: known.problem)
        assert known.problem == f"it lags by more than {MAX_LAG_S} s" and not known.is_usable()
        assert f"the database replica is not used: {known.problem}" in caplog.messages
        readiness = viewer.get("/readyz").json
        assert readiness["checks"]["replica"] is False


def test_an_idle_primary_makes_no_lag(viewer):
    known = use_replica(viewer.world.app)
    deadline = time.monotonic() + 1.5 * MAX_LAG_S
    while time.monotonic() < deadline:
        assert known.is_usable()
        time.sleep(0.1)


def test_a_standby_that_is_killed_and_comes_back_is_noticed_by_nobody(servers, world):
    _, standby = servers
    known, viewer = use_replica(world.app), world.household(world.price)
    kill(standby)
    slowest_s = 0.0
    for number in range(10):
        title_id = add_title(world, f"alone {number}")
        started = time.monotonic()
        assert viewer.get(f"/v1/catalog/titles/{title_id}").status_code == 200
        assert viewer.get(f"/v1/profiles/{viewer.profile_id}/history").status_code == 200
        slowest_s = max(slowest_s, time.monotonic() - started)
    assert slowest_s < BUDGET_S and not known.is_usable()
    standby.start()
    use_replica(world.app)
    with Reads(standby) as reads:
        wait_until(lambda: read_on_replica(reads, lambda: viewer.get(f"/v1/profiles/{viewer.profile_id}/history")))


def test_a_standby_that_hangs_delays_one_read_for_two_seconds_at_most(servers, world, tmp_path):
    primary, standby = servers
    with FreezablePostgres(standby.url.format("replicated"), tmp_path) as frozen:
        app = build_app(primary.database, Clock(), database_replica_url=frozen.url)
        use_replica(app)
        viewer = World(app).household()
        assert viewer.get("/v1/catalog/titles").status_code == 200
        frozen.freeze()
        path, durations_s = f"/v1/profiles/{viewer.profile_id}/history", []
        for _ in range(5):
            started = time.monotonic()
            assert viewer.get(path).status_code == 200
            durations_s.append(time.monotonic() - started)
        frozen.frozen = False
        use_replica(app)
        close_app(app)
    assert max(durations_s) < BUDGET_S and max(durations_s[1:]) < 1, durations_s


def test_an_error_of_the_standby_alone_is_no_error_of_the_request(world):
    known, work_on = use_replica(world.app), []

    def work():
        work_on.append(reading_engine())
        if reading_engine() is known.engine:
            raise OperationalError("SELECT", {}, Exception("canceling statement due to conflict with recovery"))
        return "read"

    with world.app.app_context():
        assert replica.read_latest(work) == "read"
    assert work_on[-1] is known.primary


def test_what_a_standby_that_restarted_meanwhile_does_not_find_is_read_again_from_the_primary(world):
    known, work_on = use_replica(world.app), []

    def work():
        work_on.append(reading_engine())
        if reading_engine() is known.engine:
            known.engine.dispose()
            known.engine.connect().close()
            raise NotFound
        return "found"

    with world.app.app_context():
        wait_until(lambda: replica.read_latest(work) == "found" and known.engine in work_on)
    assert work_on[-1] is known.primary


def test_without_the_setting_there_is_no_replica(shared_app):
    with shared_app.app_context():
        assert replica.find_replica() is None
        assert "replica" not in shared_app.test_client().get("/readyz").json["checks"]
        assert replica.read_latest(reading_engine) is replica.read_version(1, reading_engine)


@pytest.mark.parametrize(
    "values",
    [
        {"database_replica_url": "postgresql://replica/streamsvc"},
        {"database_replica_url": "postgresql://replica/streamsvc", "database_url": "sqlite:///file.sqlite3"},
    ],
)
def test_sqlite_has_no_replica(values):
    with pytest.raises(SettingsError, match="STREAMSVC_DATABASE_REPLICA_URL: requires PostgreSQL as STREAMSVC_DATA"):
        Settings(**values).with_defaults()


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("sqlite:///file.sqlite3", "must be postgresql://user:password@host/name"),
        ("postgresql:///tv?host=one&host=two", "must name one server"),
        ("postgresql:///tv?host=one,two", "must name one server"),
    ],
)
def test_a_replica_is_one_server_of_postgresql(url, problem):
    with pytest.raises(SettingsError, match=f"STREAMSVC_DATABASE_REPLICA_URL: {problem}"):
        Settings.from_env({"STREAMSVC_DATABASE_REPLICA_URL": url, "STREAMSVC_SECRET_KEY": "k" * 40})


def test_the_doctor_names_what_is_no_standby_of_the_primary(servers, new_database):
    primary, standby = servers

    def check(url):
        app = build_app(primary.database, Clock(), database_replica_url=url)
        try:
            document = json.loads(app.test_cli_runner().invoke(doctor, ["--json"]).output)
        finally:
            close_app(app)
        finding = next(check for check in document["checks"] if check["check"] == "replica")
        return finding["status"], finding["message"]

    status, message = check(standby.url.format("replicated"))
    assert status == "warning" and message.startswith("a standby of this primary, ")
    assert message.endswith("; wal_writer_delay is 200 ms, so that most reads do not wait for it")
    execute(primary.database, "ALTER SYSTEM SET wal_writer_delay = '10ms'")
    execute(primary.database, "SELECT pg_reload_conf()")
    try:
        wait_until(lambda: check(standby.url.format("replicated"))[0] == "ok")
    finally:
        execute(primary.database, "ALTER SYSTEM RESET wal_writer_delay")
        execute(primary.database, "SELECT pg_reload_conf()")
    assert check(primary.database) == ("error", "it is not a standby: it accepts writes itself")
    foreign = new_database("postgresql", "no_standby")
    reason = "it is not a standby of this primary: its system identifier is another one"
    assert check(foreign) == ("error", reason)
    assert check("postgresql://nobody@127.0.0.1:1/none") == ("error", "does not respond: OperationalError")


def test_a_card_of_a_standby_that_restarted_with_less_is_not_kept(standby, viewer):
    known, world = use_replica(viewer.world.app), viewer.world
    add_title(world, "card before")
    with world.app.app_context():
        known.engine.dispose()
    with paused_replay(standby, world.app):
        world.put_titles(FILM | {"external_id": "card before", "title": "card after"})
        with world.app.app_context():
            known._version = current_catalog_version()  # as the standby had it that this one replaces
            _thread.by_engine.pop(known.engine, None)  # idle for long: the next read connects
            known.engine.dispose()
        path = f"/v1/catalog/titles?ids={world.ids['card before']}"
        assert [item["title"] for item in viewer.get(path).json["items"]] == ["card after"]
    assert [item["title"] for item in viewer.get(f"{path}&limit=1").json["items"]] == ["card after"]
