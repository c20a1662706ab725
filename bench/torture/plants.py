"""The faults that can be planted in the service from outside: `planted/sitecustomize.py` calls `plant`.

Each function replaces a part of the product by one that is wrong in a way that a phase must find.
"""

import functools
import random
from contextlib import suppress
from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy import event

from streamsvc.cli.supervisor import Supervisor
from streamsvc.gateways.payments.stripe import StripeProvider
from streamsvc.http import idempotency
from streamsvc.operations.billing.core import charging
from streamsvc.operations.maintenance import health
from streamsvc.operations.playback import playing
from streamsvc.storage import database, leases
from streamsvc.storage.database import DatabaseSession, new_id

PLANTS = {}


def plant(name: str) -> None:
    """Plant a fault in this process, unless the phase plants this one itself."""
    charging.RECONCILE_AFTER = timedelta(seconds=2)  # so that a fault shows itself soon
    PLANTS.get(name, lambda: None)()


def plantable(function):
    PLANTS[function.__name__] = function
    return function


@plantable
def new_provider_key():
    """Every attempt to charge has a new key at the payment provider, and loses one response in three."""
    charge = StripeProvider.charge

    @functools.wraps(charge)
    def charge_with_new_key(self, request):
        charge(self, request._replace(key=new_id("pay"))) if random.random() < 0.3 else None
        return charge(self, request)

    StripeProvider.charge = charge_with_new_key


@plantable
def lost_commit():
    """One commit in ten is rolled back, and nobody is told."""
    commit = DatabaseSession.commit

    def commit_or_lose(self):
        if random.random() < 0.1:
            self.flush()
            self.rollback()
        else:
            commit(self)

    DatabaseSession.commit = commit_or_lose


@plantable
def one_slot_more():
    """An account may have one stream more than its plan allows."""
    limits = playing.streams.StreamLimits
    playing.streams.StreamLimits = lambda streams, *rest: limits(streams + 1, *rest)


@plantable
def no_hang_watchdog():
    """Nobody notices a database that hangs."""
    from streamsvc.storage import hang_watchdog

    hang_watchdog.HangWatchdog.watch = lambda self, engine: None


@plantable
def async_commit():
    """Commits on PostgreSQL do not wait for the disk."""

    @event.listens_for(sa.Engine, "connect")
    def commit_later(raw, _):
        with raw.cursor() as cursor:
            cursor.execute("SELECT set_config('synchronous_commit', 'off', false)")
        raw.commit()


@plantable
def patient_lock():
    """A transaction on SQLite waits for its lock for a minute."""
    database.WRITE_LOCK_TIMEOUT_S = 60.0


@plantable
def hard_reload():
    """A reload kills the old processes instead of letting them finish."""
    retire = Supervisor._retire

    def kill_and_retire(self, child):
        import psutil

        for process in psutil.Process(child.process.pid).children(recursive=True):
            process.kill()
        child.process.kill()
        retire(self, child)

    Supervisor._retire = kill_and_retire


@plantable
def lying_readiness():
    """The readiness check writes nothing."""
    health.WriteCheck._write = lambda self: True


@plantable
def ignored_key():
    """Every request has an idempotency key of its own."""
    read = idempotency._read_request_key

    def read_new_key(required):
        key = read(required)
        if key:
            key.id = new_id("key")
        return key

    idempotency._read_request_key = read_new_key


@plantable
def deferred_begin():
    """A transaction on SQLite begins without the write lock."""
    database._begin_immediate = lambda connection: connection.exec_driver_sql("BEGIN DEFERRED")


@plantable
def long_lease():
    """A lease outlives its process by a minute."""
    leases.LEASE_S = 60.0


@plantable
def trusting_clock():
    """Nothing doubts the machine's clock."""
    from streamsvc import clock

    clock.MAX_STEP_NS, clock.find_doubt = 10**30, lambda: None


@plantable
def patient_calls():
    """A call to another service may take a minute, as long as some byte arrives now and then."""
    with suppress(ImportError):
        from streamsvc.gateways import peers

        peers._deadline_s = lambda peer: 60.0


@plantable
def new_sandbox_key():
    """The sandbox's payment provider forgets what it has charged, so that a repeated request charges again."""
    from streamsvc.gateways.payments.sandbox import SandboxProvider

    find_outcomes, insert_requests = SandboxProvider._find_outcomes, SandboxProvider._insert_requests
    SandboxProvider.find_outcome = lambda self, key: None

    def insert_again(self, *rows):
        insert_requests(self, *rows)
        again = [row | {"id": new_id("ch"), "key": f"{row['key']} {new_id('key')}"} for row in rows]
        insert_requests(self, *again[:1])

    SandboxProvider._insert_requests = insert_again
    SandboxProvider._find_outcomes = find_outcomes


@plantable
def unfenced_lease():
    """A request commits whether or not the key is still its own."""
    session = database.db.session
    event.remove(session, "before_commit", idempotency._keep_lease)

    @event.listens_for(session, "before_commit")
    def keep_outcome(session):
        key = idempotency.g.get("idempotency_key")
        if key is not None and key.lease is not None and key.outcome:
            table = idempotency.IdempotencyKey.__table__
            session.execute(sa.update(table).where(table.c.id == key.id).values(key.outcome))


@plantable
def foreign_rows():
    """Whoever knows an id gets the row, whichever account it belongs to."""
    from streamsvc.storage.owned import OwnedByAccount

    OwnedByAccount.select_owned = classmethod(lambda cls, account_id: sa.select(cls).where(*cls.visible_conditions()))


@plantable
def ignored_unknown():
    """Members that a schema does not name are ignored."""
    from marshmallow import EXCLUDE

    from streamsvc.http.edge import StrictParser
    from streamsvc.schemas.base import StrictSchema

    StrictParser.DEFAULT_UNKNOWN_BY_LOCATION |= {"json": EXCLUDE}
    StrictSchema.unknown = property(lambda self: EXCLUDE, lambda self, value: None)


@plantable
def no_dummy_hash():
    """An account without a password costs no hash."""
    from streamsvc.security.password_hashing import HashingPermit

    verify = HashingPermit.verify_password
    HashingPermit.verify_password = lambda self, stored, password: bool(stored) and verify(self, stored, password)


@plantable
def short_months():
    """Every month has 28 days for a subscription's anchor."""
    from streamsvc.rules.billing import calendar

    day_in_month = calendar.day_in_month
    calendar.day_in_month = lambda year, month, day: day_in_month(year, month, min(day, 28))


@plantable
def unsigned_events():
    """Events of the payment provider need no signature."""
    import json

    StripeProvider.parse_event = lambda self, body, signature: json.loads(body)


@plantable
def new_event_id():
    """Each attempt to deliver an event has an id of its own."""
    from streamsvc.operations.outbox import webhooks

    build = webhooks.build_delivery

    def build_with_new_id(*args):
        body, headers = build(*args)
        return body, headers | {"webhook-id": new_id("evt")}

    webhooks.build_delivery = build_with_new_id


@plantable
def stored_secret():
    """A stored response contains its secret."""
    idempotency.extract_secrets = lambda body, secrets: (body, [])


@plantable
def kept_sessions():
    """Taking an account back leaves the devices and sessions of the intruder."""
    from streamsvc.operations.credentials import access_revocation

    access_revocation._revoke_devices_and_sessions = lambda *args, **kwargs: None


@plantable
def open_grant():
    """A playback token opens every path."""
    from streamsvc.blueprints.playback import verify

    verify.allows_path = lambda claims, path: True
