"""python -m bench.migration_under_load [--database sqlite|postgresql]: upgrade the schema under a service that runs.

Eight clients create guests, which are accounts, and read the plans, each request on a new connection. Meanwhile two
migrations run, as a newer release would bring them: one adds a column to the accounts, the other builds an index on
their 200,000 rows (SQLite: 50,000). The service keeps the code from before. Prints the responses by status and the
slowest one, before and during the upgrade, and fails if any request failed.
"""

import argparse
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import sqlalchemy as sa
from alembic import command

from bench import report
from bench.__main__ import create_database
from streamsvc.app import create_app
from streamsvc.settings import Settings
from streamsvc.storage.database import db
from tests.conftest import migrate_database
from tests.worlds.next_migration import configuration_with, write_migration
from tests.worlds.service import running_service

BEFORE_S, CLIENTS = 4, 8
ROWS = {"sqlite": 50_000, "postgresql": 200_000}
NUMBERS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})"
FILL = (
    "INSERT INTO accounts (id, email, email_key, country, time_zone, locale, status, created_at)"
    " {numbers} SELECT 'acc_' || i, i || '@example.com', i || '@example.com', 'DE', 'UTC', 'en', 'active', '2026-01-01'"
    " FROM n"
)


def request_until(stopping, service, number, responses):
    """Append (start, seconds, status) of each response."""
    while not stopping.is_set():
        started = time.monotonic()
        if number % 2:
            status = service.get("/v1/plans?country=DE")[0]
        else:
            status = service.call("POST", "/v1/guests", {"country": "DE"})[0]
        responses.append((started, time.monotonic() - started, status))


def upgrade(app, folder):
    """Run both migrations; the time they took, in seconds."""
    write_migration(folder, '    op.add_column("accounts", sa.Column("shoe_size", sa.Integer()))\n')
    body = '    create_index_concurrently("ix_accounts_shoe_size", "accounts", ["country", "shoe_size", "id"])\n'
    write_migration(folder, body, "next_after", "next")
    started = time.monotonic()
    with app.app_context():
        command.upgrade(configuration_with(folder), "next_after")
    return time.monotonic() - started


def print_responses(label, responses):
    statuses = ", ".join(f"{count} × {status}" for status, count in Counter(r[2] for r in responses).items())
    print(f"{label:8} {statuses}; slowest {max(r[1] for r in responses):.2f} s")


def main():
    parser = argparse.ArgumentParser("python -m bench.migration_under_load")
    parser.add_argument("--database", default="postgresql", choices=ROWS)
    kind = parser.parse_args().database
    print(report.describe_machine())
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="streamsvc-bench-")))
        url = stack.enter_context(create_database(kind, folder))
        migrate_database(url)
        service = stack.enter_context(running_service(url, folder, STREAMSVC_LOGIN_THROTTLE="0", STREAMSVC_GUESTS="1"))
        app = create_app(Settings(database_url=url, sandbox=True, data_dir=str(folder)).with_defaults())
        with app.app_context(), db.engine.begin() as connection:
            connection.execute(sa.text(FILL.format(numbers=NUMBERS.format(rows=ROWS[kind]))))
        stopping, responses = threading.Event(), []
        arguments = [(stopping, service, number, responses) for number in range(CLIENTS)]
        threads = [threading.Thread(target=request_until, args=each) for each in arguments]
        for thread in threads:
            thread.start()
        time.sleep(BEFORE_S)
        began = time.monotonic()
        took_s = upgrade(app, folder)
        stopping.set()
        for thread in threads:
            thread.join()
    print_responses("before", [r for r in responses if r[0] + r[1] < began])
    print_responses("during", [r for r in responses if r[0] + r[1] >= began])
    failed = [r for r in responses if r[2] not in (200, 201)]
    print(f"the upgrade took {took_s:.1f} s; {len(failed)} requests failed")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
