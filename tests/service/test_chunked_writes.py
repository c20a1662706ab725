"""Cleanups delete in short transactions of a bounded number of rows, and others write between them."""

import sqlite3
from collections import Counter
from contextlib import contextmanager
from datetime import timedelta
from types import SimpleNamespace

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from streamsvc import clock
from streamsvc.models import (
    DeviceCode,
    DpopProof,
    IdempotencyKey,
    Job,
    MailedToken,
    OperatorSession,
    PendingFlow,
    RateLimitCounter,
    Session,
    Stream,
    WebhookDelivery,
    WebhookEvent,
)
from streamsvc.operations.maintenance import housekeeping
from streamsvc.operations.playback import maintenance
from streamsvc.storage import chunked_writes
from streamsvc.storage.database import AUTOCOMMIT_BIND, db, fetch_existing
from tests.worlds.operator_steps import new_operator
from tests.worlds.sessions_steps import new_person, operator

CHUNK_SIZE, ROWS = 10, 35
TWO_YEARS = timedelta(days=730)
CLEANED_UP = (
    *(DeviceCode, DpopProof, IdempotencyKey, Job, MailedToken, OperatorSession, PendingFlow, RateLimitCounter),
    *(Session, Stream, WebhookEvent, WebhookDelivery),
)


@pytest.fixture
def context(app, monkeypatch):
    monkeypatch.setattr(chunked_writes, "CHUNK_SIZE", CHUNK_SIZE)
    with app.app_context():
        yield app


def count_rows(model):
    return fetch_existing(sa.select(sa.func.count()).select_from(model))[0]


def copy_rows(model, **changed):
    """Add copies of a table's first row, with changes, and with primary keys and unique columns of their own."""
    table = model.__table__
    (key,) = table.primary_key
    row = dict(db.session.execute(sa.select(table).limit(1)).one()._mapping) | changed
    unique = {column.name for column in table.c if column.unique and row[column.name]} | {key.name}
    copies = [row | {name: f"{row[name]} {number:04}" for name in unique} for number in range(ROWS)]
    db.session.execute(sa.insert(table), copies)
    db.session.commit()


def fill_tables(app):
    """Fill the tables that are cleaned up with rows that have expired in two years."""
    ann, ada, client = new_person(app.test_client()), new_operator(app, "admin", "ada"), app.test_client()
    operator(app).post("/v1/admin/webhook-endpoints", {"url": "https://hooks.example.com/x"})
    ann.again().sign_in()
    ann.post("/v1/passkeys/options")
    client.post("/v1/device-codes", json={"device": {"name": "TV", "kind": "tv"}})
    body = {"email": "b@example.com", "name": "B", "role": "admin"}
    ada.prove()
    assert ada.post("/v1/admin/operators", body, headers={"Idempotency-Key": "k"}).status_code == 201
    now = clock.now()
    stream = dict.fromkeys(("profile_id", "session_id", "title_id", "item_id"), "x")
    stream |= dict.fromkeys(("started_at", "seen_at", "expires_at"), now)
    stream |= {"account_id": ann.get("/v1/account").json["id"], "state": "playing", "position_s": 0, "watched_s": 0}
    db.session.add_all([Stream(device_id=f"device {number}", **stream) for number in range(ROWS)])
    db.session.add(DpopProof(proof_hash="x", expires_at=now))
    db.session.commit()
    changes = {Job: {"done_at": now}, IdempotencyKey: {"created_at": clock.wall_time() - timedelta(days=3)}}
    for model in set(CLEANED_UP) - {Stream, WebhookDelivery}:
        copy_rows(model, **changes.get(model, {}))


@contextmanager
def count_writes():
    """Yield a list: for each transaction, table -> how many of its rows were deleted or changed."""
    transactions, engines = [Counter()], (db.engine, db.engines[AUTOCOMMIT_BIND])

    def count(connection, cursor, statement, *_):
        if statement == "COMMIT":
            transactions.append(Counter())
        elif statement.startswith(("DELETE", "UPDATE")):
            table = statement.removeprefix("DELETE FROM ").removeprefix("UPDATE ").split()[0]
            transactions[-1][table] += cursor.rowcount

    def start_next(_):
        transactions.append(Counter())

    for engine in engines:
        event.listen(engine, "after_cursor_execute", count)
        event.listen(engine, "commit", start_next)
    yield transactions
    for engine in engines:
        event.remove(engine, "after_cursor_execute", count)
        event.remove(engine, "commit", start_next)


def test_every_cleanup_deletes_everything_that_has_expired_in_transactions_of_few_rows(context):
    fill_tables(context)
    original_jobs = count_rows(Job) - ROWS
    context.extensions["clock"].advance(days=TWO_YEARS.days)
    with count_writes() as transactions:
        for cleanup in (housekeeping.purge_expired_data, housekeeping.purge_used_proofs, maintenance.maintain_streams):
            cleanup({}, clock.now())
    left = {model.__tablename__: count for model in CLEANED_UP if (count := count_rows(model))}
    assert left == {"jobs": original_jobs, "idempotency_keys": 1}, "those neither done nor expired"
    deleted = sum(transactions, Counter())
    assert deleted.pop("webhook_deliveries"), "with their events"
    assert min(deleted.values()) >= ROWS
    assert max(max(counts.values(), default=0) for counts in transactions) == CHUNK_SIZE


def test_others_write_between_two_chunks(context, monkeypatch):
    """As another process, which waits for nobody. PostgreSQL has no lock on the database."""
    if not context.extensions["settings"].is_sqlite:
        pytest.skip("PostgreSQL allows concurrent writers")
    db.session.add(DpopProof(proof_hash="x", expires_at=clock.now()))
    db.session.flush()
    copy_rows(DpopProof)
    stranger = sqlite3.connect(db.engine.url.database, timeout=0, isolation_level=None)
    written = []

    def write(pause_s):
        written.append(stranger.execute("UPDATE dpop_proofs SET expires_at = expires_at").rowcount)

    monkeypatch.setattr(chunked_writes, "time", SimpleNamespace(sleep=write))
    housekeeping.purge_used_proofs({}, clock.now())
    stranger.close()
    assert written == [26, 16, 6]
