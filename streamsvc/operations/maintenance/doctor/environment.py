"""Checks of the service's environment: settings, versions, clocks, disk, connections."""

import shutil
import sqlite3
import sys
from importlib import metadata
from pathlib import Path

import sqlalchemy as sa
from packaging.requirements import Requirement
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import QueuePool

from streamsvc.operations.maintenance.clock_check import check_clock, read_database_clock, read_machine_clock
from streamsvc.operations.maintenance.doctor.findings import ERROR, OK, WARNING, Finding, doctor_check
from streamsvc.operations.maintenance.health import is_schema_current
from streamsvc.rules.clock_trust import format_span
from streamsvc.security.counter_keys import is_secret_key_foreign
from streamsvc.setting_checks import list_doubtful_settings
from streamsvc.settings import current_settings
from streamsvc.storage.database import REPLICA_BIND, db, fetch_existing
from streamsvc.storage.replica import (
    CATCH_UP_S,
    PRIMARY_STATE,
    STANDBY_STATE,
    fetch_state,
    find_problem,
    find_replica,
)

OLDEST_SQLITE, OLDEST_POSTGRESQL, OLDEST_PYTHON = (3, 35), 14, (3, 11)
LOW_DISK_BYTES, FULL_DISK_BYTES = 2 * 1024**3, 256 * 1024**2
CLOCK_WARNING_S = 60.0
REPLICA_SETTING = "STREAMSVC_DATABASE_REPLICA_URL"
WAL_WRITER_DELAY = sa.text("SELECT setting::int FROM pg_settings WHERE name = 'wal_writer_delay'")
"""In milliseconds."""


@doctor_check("database")
def check_database() -> Finding:
    """Check that the database responds."""
    fetch_existing(sa.text("SELECT 1"))
    return Finding(OK, "responds")


@doctor_check("settings", needs_database=False)
def check_settings() -> Finding:
    """Check that the settings suit their environment. Invalid ones have kept the doctor from starting."""
    doubts = list_doubtful_settings(current_settings())
    if not doubts:
        return Finding(OK, f"suitable for {current_settings().env}")
    status = ERROR if current_settings().env == "production" else WARNING
    return Finding(status, "; ".join(doubts), "Change them, and restart; `streamsvc config` prints all.")


@doctor_check("schema")
def check_schema() -> Finding:
    """Check that the database has the schema that the code needs."""
    if is_schema_current():
        return Finding(OK, "up to date")
    return Finding(ERROR, "older than the code", "Run `streamsvc db upgrade`.")


@doctor_check("secret key")
def check_secret_key() -> Finding:
    """Check that the secret key is that of the database."""
    if is_secret_key_foreign():
        advice = "Restore the key; if it is lost, authenticators and webhook secrets have to be set up again."
        return Finding(ERROR, "is not one with which this database was used", advice)
    return Finding(OK, "is that of the database")


@doctor_check("replica")
def check_replica() -> Finding:
    """Check that the standby is one of this primary, responds and follows."""
    replica = find_replica()
    if replica is None:
        return Finding(OK, "none is set")
    advice = f"Correct {REPLICA_SETTING}, or unset it; until then everything is read from the primary."
    primary = fetch_state(replica.primary, PRIMARY_STATE)
    try:
        standby = fetch_state(replica.engine, STANDBY_STATE)
    except SQLAlchemyError as error:
        return Finding(ERROR, f"does not respond: {type(error).__name__}", advice)
    if problem := find_problem(primary, standby):
        return Finding(ERROR, problem, advice)
    behind_bytes = max((primary.position or 0) - (standby.position or 0), 0)
    message, (delay_ms,) = f"a standby of this primary, {behind_bytes:,} bytes behind", fetch_existing(WAL_WRITER_DELAY)
    if delay_ms > CATCH_UP_S * 1000:
        message += f"; wal_writer_delay is {delay_ms} ms, so that most reads do not wait for it"
        return Finding(WARNING, message, "Set wal_writer_delay = '10ms' on the primary, and reload it.")
    return Finding(OK, message)


@doctor_check("database version")
def check_database_version() -> Finding:
    """Check the version of SQLite or PostgreSQL."""
    if db.engine.dialect.name == "sqlite":
        name, is_old = f"SQLite {sqlite3.sqlite_version}", sqlite3.sqlite_version_info < OLDEST_SQLITE
    else:
        version = fetch_existing(sa.text("SELECT current_setting('server_version')"))[0]
        name, is_old = f"PostgreSQL {version.split()[0]}", int(version.split(".")[0]) < OLDEST_POSTGRESQL
    return Finding(ERROR, f"{name} is too old", "Upgrade it.") if is_old else Finding(OK, name)


@doctor_check("libraries", needs_database=False)
def check_libraries() -> Finding:
    """Check that Python and the installed libraries are those that the package requires."""
    python = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < OLDEST_PYTHON:
        return Finding(ERROR, f"Python {python} is too old", "Install a newer one.")
    try:
        wrong = find_unmet_requirements(metadata.requires("streamsvc") or [])
    except metadata.PackageNotFoundError:
        return Finding(OK, f"Python {python}; the service is not installed as a package, so no versions are required")
    if wrong:
        return Finding(ERROR, f"not as required: {', '.join(wrong)}", "Reinstall the service with pip.")
    return Finding(OK, f"Python {python}; all libraries are as required")


def find_unmet_requirements(requirements: list[str]) -> list[str]:
    """Return the required libraries that are absent or of another version; extras are not required."""
    wrong = []
    for requirement in map(Requirement, requirements):
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            version = "absent"
        if version == "absent" or not requirement.specifier.contains(version, prereleases=True):
            wrong.append(f"{requirement.name} {version}")
    return wrong


@doctor_check("clock")
def check_clocks() -> Finding:
    """Compare this machine's clock with the database's and the stored readings, as the service does."""
    advice = "Set the clock right, then run `streamsvc clock confirm` if it is not trusted by itself."
    shown, database = read_machine_clock(), read_database_clock()
    if doubt := check_clock(is_recorded=False):
        return Finding(ERROR, doubt, advice)
    if database is None:
        return Finding(OK, "trusted")
    apart = abs(shown - database)
    status = WARNING if apart.total_seconds() > CLOCK_WARNING_S else OK
    message = f"{format_span(apart)} from the database's clock"
    return Finding(status, message, "Synchronize both by NTP." if status == WARNING else "")


@doctor_check("disk", needs_database=False)
def check_disk() -> Finding:
    """Check the free space of the data folder and of SQLite's file."""
    settings = current_settings()
    folder = Path(make_url(settings.database_url).database or ".").parent if settings.is_sqlite else Path()
    free_bytes = min(shutil.disk_usage(path).free for path in (folder, Path(settings.data_dir)) if path.exists())
    message = f"{free_bytes / 1024**3:,.1f} GiB free"
    if free_bytes >= LOW_DISK_BYTES:
        return Finding(OK, message)
    return Finding(ERROR if free_bytes < FULL_DISK_BYTES else WARNING, message, "Free some space, or enlarge the disk.")


@doctor_check("connections")
def check_connections() -> Finding:
    """Compare what this node may open with what PostgreSQL allows."""
    if db.engine.dialect.name == "sqlite":
        return Finding(OK, "SQLite needs no budget")
    text = "SELECT current_setting('max_connections')::int, count(*) FROM pg_stat_activity WHERE backend_type = :type"
    allowed, in_use = fetch_existing(sa.text(text), {"type": "client backend"})
    own = connections_per_node()
    message = f"{in_use} of {allowed} in use; this node opens up to {own}"
    if in_use > 0.9 * allowed:
        return Finding(ERROR, message, "Raise max_connections, or put PgBouncer in front of PostgreSQL.")
    if own > allowed:
        return Finding(WARNING, message, "Lower STREAMSVC_WORKERS or STREAMSVC_THREADS, or raise max_connections.")
    return Finding(OK, message)


def connections_per_node() -> int:
    """Return the connections to the primary that the web processes and the worker of one node open at most."""
    pools = [engine.pool for name, engine in db.engines.items() if name != REPLICA_BIND]
    per_process = sum(pool.size() + pool._max_overflow for pool in pools if isinstance(pool, QueuePool))
    return (current_settings().workers + 1) * per_process
