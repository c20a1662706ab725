"""`streamsvc backup`: complete or absent, of one moment; and what `backup verify` and `restore` refuse."""

import itertools
import re
import shlex
import sqlite3
import threading
import zipfile
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from streamsvc import clock
from streamsvc.app import MIGRATIONS
from streamsvc.cli import backup as command
from streamsvc.cli.backup import backup
from streamsvc.models import Account, Restore
from streamsvc.operations.backup import folder
from streamsvc.operations.backup.archive import DUMPS, SECRET_KEY
from streamsvc.storage.database import db, execute_write, fetch_all, fetch_one
from tests.conftest import Clock, close_app
from tests.worlds.backups import KEY, app_on, fail, migrate_to, read_manifest, rewrite, run, succeed
from tests.worlds.billing_world import World
from tests.worlds.commands import parse_command
from tests.worlds.service import Service

pytestmark = pytest.mark.every_database
PAGE = Path(__file__).parent.parent.parent / "docs" / "backup.md"


@pytest.fixture(scope="module")
def world(new_app, database):
    """A service with a paying subscriber, on a database of its own."""
    world = World(new_app(database, "backed_up", clock=Clock(), secret_key=(KEY,)))
    world.ann = world.person()
    assert world.ann.subscribe(world.plan("p", 1000)).status_code == 201
    return world


@pytest.fixture(scope="module")
def path(world, tmp_path_factory):
    """A backup of the service."""
    path = tmp_path_factory.mktemp("backups") / "first.backup"
    make(world.app, path)
    return path


@pytest.fixture(scope="module")
def url(world):
    return world.app.extensions["settings"].database_url


@pytest.fixture(scope="module")
def empty_url(new_database, database):
    """The URL of an empty database, or of a file that does not exist."""
    return new_database(database, "restored_here")


def make(app, path, *options):
    result = app.test_cli_runner().invoke(backup, [str(path), *options])
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


def list_documented_commands():
    """The commands in the examples of docs/backup.md, as arguments."""
    examples = "".join(PAGE.read_text().split("```")[1::2])
    texts = re.findall(r"streamsvc ((?:backup|restore|billing) [^&|\n]+)", re.sub(r"\$\(.*?\)", "DATE", examples))
    return [shlex.split(text) for text in texts]


@pytest.mark.one_database
@pytest.mark.parametrize("arguments", list_documented_commands(), ids=" ".join)
def test_every_documented_command_exists(arguments):
    parse_command(arguments)


def count_accounts(url):
    with app_on(url) as app, app.app_context():
        return fetch_one(sa.select(sa.func.count()).select_from(Account))[0]


def test_a_backup_is_private_and_says_what_it_contains(path, database):
    manifest = read_manifest(path)
    assert path.stat().st_mode & 0o777 == 0o600
    newest = max(path.name[:4] for path in MIGRATIONS.glob("versions/*.py"))
    assert (manifest["database"], manifest["revision"], manifest["rows"]["payments"]) == (database, newest, 1)
    assert manifest["service_time"] == "2026-01-15T12:00:00Z"
    with zipfile.ZipFile(path) as archive:
        assert sorted(archive.namelist()) == sorted([DUMPS[database], "manifest.json"])
        assert KEY.encode() not in b"".join(map(archive.read, archive.namelist()))


def test_the_secret_key_is_in_it_only_if_asked_for(world, tmp_path):
    path = tmp_path / "with key"
    assert "whoever has it can read every secret" in make(world.app, path, "--with-secret-key")
    with zipfile.ZipFile(path) as archive:
        assert archive.read(SECRET_KEY).decode() == KEY + "\n"


def test_a_folder_gets_a_file_named_by_the_time_and_loses_the_old_ones(world, tmp_path, monkeypatch):
    monkeypatch.setattr(clock, "wall_time", lambda: datetime(2026, 1, 15, 2, tzinfo=UTC))
    others = ["streamsvc-20251199T020000Z.backup", "nightly.backup", "streamsvc-20251201T020000Z.backup.gpg"]
    for name in ["streamsvc-20251216T010000Z.backup", "streamsvc-20251216T030000Z.backup", *others]:
        (tmp_path / name).touch()
    output = make(world.app, tmp_path, "--keep-days", "30")
    kept = ["streamsvc-20251216T030000Z.backup", "streamsvc-20260115T020000Z.backup", *others]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)
    assert "streamsvc-20251216T010000Z.backup: deleted, since it is older than 30 days" in output
    assert read_manifest(tmp_path / "streamsvc-20260115T020000Z.backup")["rows"]["payments"] == 1


def test_what_cannot_be_deleted_is_said_and_stops_nothing(world, tmp_path, monkeypatch):
    (tmp_path / "streamsvc-20200101T000000Z.backup").mkdir()
    stuck, old = tmp_path / "streamsvc-20200102T000000Z.backup", tmp_path / "streamsvc-20200103T000000Z.backup"
    stuck.touch()
    old.touch()
    unlink = type(stuck).unlink

    def refuse_one(path, **options):
        if path == stuck:
            raise PermissionError(1, "Operation not permitted")
        unlink(path, **options)

    monkeypatch.setattr(type(stuck), "unlink", refuse_one)
    result = world.app.test_cli_runner().invoke(backup, [str(tmp_path), "--keep-days", "30"])
    assert (result.exit_code, "cannot be deleted: Operation not permitted" in result.output) == (1, True)
    assert stuck.exists() and not old.exists()


def test_two_backups_in_one_second_have_two_names(world, tmp_path, monkeypatch):
    monkeypatch.setattr(clock, "wall_time", lambda: datetime(2026, 1, 15, 2, tzinfo=UTC))
    make(world.app, tmp_path)
    make(world.app, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "streamsvc-20260115T020000Z.backup",
        "streamsvc-20260115T020001Z.backup",
    ]


@pytest.mark.one_database
@pytest.mark.parametrize("options", [["--keep-days", "3650000000"], ["--every-hours", "99999999999"], [""]])
def test_what_no_backup_can_be_made_with_is_refused_before_it_is_made(world, tmp_path, options):
    arguments = options if options == [""] else [str(tmp_path), *options]
    assert world.app.test_cli_runner().invoke(backup, arguments).exit_code == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.one_database
@pytest.mark.parametrize("arguments", [["backup", "to.backup"], ["billing", "audit"], ["worker"]])
def test_a_mistyped_path_of_the_database_creates_nothing(tmp_path, arguments):
    service = Service(f"sqlite:///{tmp_path}/typo/tv.sqlite3", tmp_path)
    result = service.command(*arguments)
    assert (result.returncode, "typo/tv.sqlite3 does not exist or is empty" in result.stderr) == (1, True)
    assert not (tmp_path / "typo").exists()


def test_the_newest_backup_is_never_deleted(tmp_path):
    (tmp_path / "streamsvc-20200101T000000Z.backup").touch()
    assert folder.list_expired(tmp_path, datetime(2026, 1, 15, tzinfo=UTC), timedelta(days=1)) == []


def test_backups_go_on_in_the_interval_that_was_asked_for(world, tmp_path, monkeypatch):
    moments, waits = itertools.count(), []
    monkeypatch.setattr(clock, "wall_time", lambda: datetime(2026, 1, 15 + next(moments), 2, tzinfo=UTC))

    def wait(seconds):
        waits.append(seconds)
        if len(waits) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(command, "sleep", wait)
    world.app.test_cli_runner().invoke(backup, [str(tmp_path), "--every-hours", "24"])
    assert (waits, len(list(tmp_path.iterdir()))) == ([86_400, 86_400], 2)


@pytest.mark.parametrize("option", ["--keep-days", "--every-hours"])
def test_a_file_is_no_folder_of_regular_backups(world, tmp_path, option):
    result = world.app.test_cli_runner().invoke(backup, [str(tmp_path / "b"), option, "30"])
    assert (result.exit_code, "need a folder" in result.output, (tmp_path / "b").exists()) == (2, True, False)


def test_a_backup_never_replaces_a_file_and_leaves_no_part(world, path, tmp_path):
    before = path.read_bytes()
    result = world.app.test_cli_runner().invoke(backup, [str(path)])
    assert (result.exit_code, "already exists" in result.output) == (1, True)
    result = world.app.test_cli_runner().invoke(backup, [str(tmp_path / "no folder" / "b")])
    assert (result.exit_code, "does not exist" in result.output) == (1, True)
    assert (path.read_bytes(), list(path.parent.iterdir())) == (before, [path])


def test_a_backup_under_load_is_of_one_moment(world, tmp_path, url):
    """Each transaction adds two rows; a backup in between has both or neither."""
    stop, added = threading.Event(), []

    def add_pairs():
        with world.app.app_context():
            while not stop.is_set():
                number = len(added)
                for half in ("a", "b"):
                    name = f"{half}{number}@example.com"
                    values = {"id": f"acc_{half}{number}", "email": name, "email_key": name, "status": "disabled"}
                    times = {"country": "DE", "time_zone": "UTC", "locale": "en", "created_at": world.clock()}
                    db.session.add(Account(**values, **times))
                    db.session.flush()
                db.session.commit()
                added.append(number)
            db.session.execute(sa.delete(Account).where(Account.status == "disabled"))
            db.session.commit()

    writer = threading.Thread(target=add_pairs)
    writer.start()
    try:
        while len(added) < 3:
            assert writer.is_alive()
        acknowledged = len(added)
        make(world.app, tmp_path / "b")
        later = len(added)
    finally:
        stop.set()
        writer.join()
    accounts = read_manifest(tmp_path / "b")["rows"]["accounts"] - 1
    assert accounts % 2 == 0
    assert acknowledged <= accounts // 2 <= later + 1
    assert "ok" in succeed(url, "backup", "verify", tmp_path / "b", "--quick")


def test_a_restore_does_nothing_without_yes_and_everything_with_it(path, empty_url, database):
    output = succeed(empty_url, "restore", path)
    assert "Nothing was changed" in output
    assert list_tables(empty_url) == []
    output = succeed(empty_url, "restore", path, "--yes")
    assert "not known: accounts deleted since the backup" in output
    assert "\nrestored" in output
    assert count_accounts(empty_url) == 1
    with app_on(empty_url) as app, app.app_context():
        assert [row.reconciled_at for row in fetch_all(sa.select(Restore.__table__))] == [None]


def list_tables(url):
    """The tables of a database; none if its file does not exist, which this does not create."""
    address = url.replace("postgresql:", "postgresql+psycopg:")
    if address.startswith("sqlite") and not Path(sa.make_url(url).database).exists():
        return []
    engine = sa.create_engine(address, poolclass=sa.NullPool)
    with engine.connect() as connection:
        return sa.inspect(connection).get_table_names()


def test_a_database_in_use_is_not_replaced(world, path, url):
    assert "only with --replace" in fail(url, "restore", path, "--yes")
    message = fail(url, "restore", path, "--yes", "--replace")
    assert "stop the service" in message
    assert world.ann.subscription()["status"] == "active"


def spoil_end(path, spoiled):
    spoiled.write_bytes(path.read_bytes()[:-30])


def flip_bytes(path, spoiled):
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 64] = bytes(byte ^ 0xFF for byte in content[middle : middle + 64])
    spoiled.write_bytes(content)


def change_dump(path, spoiled):
    rewrite(path, spoiled, dump=lambda dump: dump[:-1] + bytes([dump[-1] ^ 1]))


def lose_a_row(path, spoiled):
    rewrite(path, spoiled, manifest=lambda m: m | {"rows": m["rows"] | {"payments": 2}})


def come_from_the_future(path, spoiled):
    rewrite(path, spoiled, manifest=lambda m: m | {"revision": "9000"})


def have_a_new_format(path, spoiled):
    rewrite(path, spoiled, manifest=lambda m: m | {"format": 2})


def be_of_another_database(path, spoiled):
    rewrite(path, spoiled, manifest=lambda m: m | {"database": "oracle"})


def lose_the_manifest(path, spoiled):
    with zipfile.ZipFile(spoiled, "w") as archive:
        archive.writestr("hello", "world")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_end, "not a complete backup"),
        (flip_bytes, ""),
        (change_dump, "checksum"),
        (lose_a_row, "payments 1 instead of 2"),
        (come_from_the_future, "9000 is not one of this release"),
        (have_a_new_format, "newer release"),
        (be_of_another_database, "cannot be read"),
        (lose_the_manifest, "not a backup of this service"),
    ],
)
def test_a_spoiled_backup_is_refused(path, url, tmp_path, spoil, message):
    spoiled = tmp_path / "spoiled"
    spoil(path, spoiled)
    assert message in fail(url, "backup", "verify", spoiled)


def test_a_spoiled_backup_is_not_restored_either(path, url, tmp_path, world):
    lose_a_row(path, tmp_path / "spoiled")
    assert "payments 1 instead of 2" in fail(url, "restore", tmp_path / "spoiled", "--yes", "--replace")
    assert world.ann.subscription()["status"] == "active"


def test_a_backup_of_the_other_database_is_refused(path, url, tmp_path, database):
    other = {"sqlite": "postgresql", "postgresql": "sqlite"}[database]
    rewrite(path, tmp_path / "b", manifest=lambda manifest: manifest | {"database": other})
    assert f"a backup of {other}" in fail(url, "backup", "verify", tmp_path / "b")


def test_another_secret_key_is_noticed(path, empty_url):
    other = {"STREAMSVC_SECRET_KEY": "another key that is long enough for all"}
    assert "another secret key" in run(empty_url, "backup", "verify", path, **other).output
    message = fail(empty_url, "restore", path, "--yes", "--replace", **other)
    assert "--other-secret-key" in message


def test_verify_finds_what_the_doctor_would_find(world, url, path, tmp_path):
    assert run(url, "backup", "verify", path).exit_code == 0
    with world.app.app_context():
        execute_write(sa.text("UPDATE ledger_entries SET amount_minor = amount_minor + 1 WHERE book = 'cash'"))
        make(world.app, tmp_path / "b")
        execute_write(sa.text("UPDATE ledger_entries SET amount_minor = amount_minor - 1 WHERE book = 'cash'"))
    result = run(url, "backup", "verify", tmp_path / "b")
    assert (result.exit_code, "error    ledger" in result.output) == (2, True), result.output


def test_an_older_schema_is_migrated(new_app, database, new_database, tmp_path):
    app = new_app(database, "older", clock=Clock(), secret_key=(KEY,))
    url = app.extensions["settings"].database_url
    close_app(app)
    migrate_to(url, "0070")
    make(app, tmp_path / "b")
    assert read_manifest(tmp_path / "b")["revision"] == "0070"
    succeed(new_database(database, "younger"), "restore", tmp_path / "b", "--yes")


def test_a_damaged_sqlite_file_is_not_backed_up(world, url, tmp_path, database):
    if database != "sqlite":
        pytest.skip("PostgreSQL reports damage itself, when it reads the page")
    source = sa.make_url(url).database
    with closing(sqlite3.connect(source)) as connection, closing(sqlite3.connect(tmp_path / "damaged")) as copy:
        connection.backup(copy)
        root = copy.execute("SELECT rootpage FROM sqlite_master WHERE name = 'payments'").fetchone()[0]
        page = copy.execute("PRAGMA page_size").fetchone()[0]
        copy.execute("PRAGMA journal_mode=DELETE")
    with (tmp_path / "damaged").open("r+b") as file:
        file.seek((root - 1) * page)
        file.write(b"\xff" * page)
    assert "damaged" in fail(f"sqlite:///{tmp_path / 'damaged'}", "backup", tmp_path / "b")
    assert not (tmp_path / "b").exists()
