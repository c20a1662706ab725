"""Dumps of PostgreSQL by pg_dump, in its custom format, of the snapshot in which the rows were counted."""

import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import sqlalchemy as sa
from psycopg.conninfo import make_conninfo
from sqlalchemy.engine import make_url

from streamsvc import clock
from streamsvc.operations.backup.archive import CHUNK_BYTES, BackupError
from streamsvc.operations.backup.dumps import Dump, StartProgress

DEBIAN_PROGRAMS = Path("/usr/lib/postgresql")
NO_OWNERS = ("--no-owner", "--no-privileges")
LOCALE = "SELECT pg_encoding_to_char(encoding), to_jsonb(d) FROM pg_database d WHERE datname = current_database()"
LOCALE_PROVIDERS = {"i": "LOCALE_PROVIDER icu ICU_LOCALE", "b": "LOCALE_PROVIDER builtin BUILTIN_LOCALE"}
OWN_SETTINGS = (
    "SELECT unnest(setconfig) FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase"
    " WHERE setrole = 0 AND datname = :name"
)
OTHER_CLIENTS = "SELECT count(*) FROM pg_stat_activity WHERE datname = :name AND pid != pg_backend_pid()"
MAX_NAME_BYTES = 63


class PostgresqlStore:
    """The settings' database on its server."""

    name = "postgresql"

    def __init__(self, url: str) -> None:
        self.url = make_url(url)
        self.database = self.url.database or ""

    @contextmanager
    def dump(self, folder: Path, start_progress: StartProgress) -> Iterator[Dump]:
        with self._connect(self.database, "REPEATABLE READ") as connection:
            program = find_program("pg_dump", server_version(connection))
            connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
            snapshot = connection.scalar(sa.text("SELECT pg_export_snapshot()"))
            taken_at, rows = clock.wall_time(), count_tables(connection)
            size = connection.scalar(sa.text("SELECT pg_database_size(current_database())"))
            command = [program, "--format=custom", *NO_OWNERS, f"--snapshot={snapshot}"]
            with start_progress(size, "Writing") as advance:

                def read_output() -> Iterator[bytes]:
                    with self._running(command, self.database, stdout=subprocess.PIPE) as process:
                        assert process.stdout is not None, "it is a pipe"
                        while chunk := process.stdout.read(CHUNK_BYTES):
                            advance(len(chunk))
                            yield chunk

                yield Dump(taken_at, read_revision(connection), rows, read_output())

    @contextmanager
    def create_scratch(self, folder: Path | None = None) -> Iterator[str]:
        name = f"streamsvc_scratch_{secrets.token_hex(6)}"
        with self._connect(self.database) as connection:
            locale = describe_locale(*connection.execute(sa.text(LOCALE)).one())
            try:
                connection.exec_driver_sql(f'CREATE DATABASE "{name}" TEMPLATE template0 {locale}')
            except sa.exc.DBAPIError as error:
                reason = f"{error.orig}".strip().splitlines()[0]
                raise BackupError(f"no scratch database can be created ({reason}): ALTER ROLE … CREATEDB") from None
        try:
            yield self.url.set(database=name).render_as_string(hide_password=False)
        finally:
            with self._connect(self.database) as connection:
                connection.exec_driver_sql(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def load(self, url: str, chunks: Iterator[bytes]) -> None:
        name = make_url(url).database or ""
        with self._connect(name) as connection:
            program = find_program("pg_restore", server_version(connection))
        command = [program, *NO_OWNERS, "--exit-on-error", "--single-transaction"]
        with self._running(command, name, stdin=subprocess.PIPE) as process:
            assert process.stdin is not None, "it is a pipe"
            try:
                for chunk in chunks:
                    process.stdin.write(chunk)
                process.stdin.close()
            except BrokenPipeError:
                return  # its message says why
        with self._connect(name) as connection:
            connection.exec_driver_sql("ANALYZE")

    def count_rows(self, url: str = "") -> dict[str, int]:
        with self._connect((make_url(url).database if url else self.database) or "") as connection:
            return count_tables(connection)

    def replace(self, url: str, moment: datetime) -> str:
        scratch = make_url(url).database or ""
        kept = f"{self.database}_replaced_{moment:%Y%m%d%H%M%S}"[-MAX_NAME_BYTES:]
        with self._connect(scratch) as connection:  # a database cannot be renamed from within
            clients = connection.scalar(sa.text(OTHER_CLIENTS), {"name": self.database})
            if clients:
                raise BackupError(f"{self.database} has {clients} connections; stop the service, and others, first")
            for setting in connection.scalars(sa.text(OWN_SETTINGS), {"name": self.database}).all():
                name, _, value = setting.partition("=")
                quoted = value.replace("'", "''")
                connection.exec_driver_sql(f"ALTER DATABASE \"{scratch}\" SET {name} = '{quoted}'")
        with self._connect(self._maintenance_database(scratch), "READ COMMITTED") as connection:
            try:
                connection.exec_driver_sql(f'ALTER DATABASE "{self.database}" RENAME TO "{kept}"')
                connection.exec_driver_sql(f'ALTER DATABASE "{scratch}" RENAME TO "{self.database}"')
                connection.commit()
            except sa.exc.DBAPIError as error:
                raise BackupError(f"the databases cannot be renamed: {error.orig}") from None
        return kept

    def _maintenance_database(self, scratch: str) -> str:
        """Return a database to be connected to while the other two are renamed. Raises BackupError."""
        with self._connect(scratch) as connection:
            names = connection.scalars(
                sa.text(
                    "SELECT datname FROM pg_database WHERE datallowconn AND has_database_privilege(oid, 'CONNECT')"
                    " AND datname NOT IN (:database, :scratch, 'template0')"
                    " ORDER BY datname != 'postgres', datname != 'template1'"
                ),
                {"database": self.database, "scratch": scratch},
            ).all()
        if not names:
            raise BackupError("there is no other database to connect to, such as `postgres`, for renaming this one")
        return str(names[0])

    @contextmanager
    def _connect(self, database: str, isolation_level: str = "AUTOCOMMIT") -> Iterator[sa.Connection]:
        url = self.url.set(drivername="postgresql+psycopg", database=database)
        engine = sa.create_engine(url, isolation_level=isolation_level, poolclass=sa.NullPool)
        try:
            with engine.connect() as connection:
                yield connection
        except sa.exc.OperationalError as error:
            raise BackupError(f"PostgreSQL: {error.orig}") from None

    @contextmanager
    def _running(self, command: list[str], database: str, **pipes: int) -> Iterator["subprocess.Popen[bytes]"]:
        """Run one of PostgreSQL's programs on a database. The password is not on the command line."""
        url = self.url
        address: dict[str, Any] = {
            "host": url.host,
            "port": url.port,
            "user": url.username,
            "dbname": database,
            **url.query,
        }
        target = make_conninfo(**{name: value for name, value in address.items() if value})
        password = {"PGPASSWORD": url.password} if url.password else {}
        with running([*command, f"--dbname={target}"], password, **pipes) as process:
            yield process


@contextmanager
def running(command: list[str], variables: dict[str, str], **pipes: int) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a program within the block. Raises BackupError with its last message if it fails."""
    with tempfile.TemporaryFile() as messages:
        process = subprocess.Popen(command, env={**os.environ, **variables}, stderr=messages, **pipes)  # type: ignore[call-overload]
        try:
            yield process
        except BaseException:
            process.kill()
            raise
        finally:
            for pipe in (process.stdin, process.stdout):
                _close(pipe)
            status = process.wait()
        if status:
            messages.seek(0)
            lines = messages.read().decode(errors="replace").strip().splitlines() or [f"status {status}"]
            raise BackupError(f"{Path(command[0]).name} failed: {lines[-1]}")


def _close(pipe: IO[bytes] | None) -> None:
    try:
        if pipe:
            pipe.close()
    except BrokenPipeError:
        return


def find_program(name: str, version: int) -> str:
    """Find one of PostgreSQL's programs, at least of the server's version: on the PATH, then where Debian keeps them.

    Raises BackupError.
    """
    candidates = [shutil.which(name), *map(str, sorted(DEBIAN_PROGRAMS.glob(f"*/bin/{name}"), reverse=True))]
    for candidate in filter(None, candidates):
        shown = subprocess.run([candidate, "--version"], capture_output=True, text=True, check=False).stdout.split()
        if len(shown) > 2 and int(shown[2].partition(".")[0]) >= version:
            return str(candidate)
    raise BackupError(
        f"{name} {version} or newer is missing: apt-get install postgresql-client, and put it on the PATH"
    )


def describe_locale(encoding: str, database: dict) -> str:
    """Return the options of CREATE DATABASE that give another one the same encoding and order of texts."""
    options = f"ENCODING '{encoding}' LC_COLLATE '{database['datcollate']}' LC_CTYPE '{database['datctype']}'"
    provider = LOCALE_PROVIDERS.get(database.get("datlocprovider", "c"))  # PostgreSQL 14 has none
    locale = database.get("datlocale") or database.get("daticulocale")  # from 17 on, and before
    return f"{options} {provider} '{locale}'" if provider else options


def server_version(connection: sa.Connection) -> int:
    """Return the server's major version."""
    return int(connection.scalar(sa.text("SELECT current_setting('server_version_num')"))) // 10_000


def count_tables(connection: sa.Connection) -> dict[str, int]:
    tables = sorted(sa.inspect(connection).get_table_names())
    counts = {name: sa.select(sa.func.count()).select_from(sa.table(name)) for name in tables}
    return {name: int(connection.scalar(count) or 0) for name, count in counts.items()}


def read_revision(connection: sa.Connection) -> str:
    """Read the revision of the schema. Raises BackupError if it has none."""
    if not sa.inspect(connection).has_table("alembic_version"):
        raise BackupError("the database has no schema; run `streamsvc db upgrade` first")
    return str(connection.scalar(sa.text("SELECT version_num FROM alembic_version")))
