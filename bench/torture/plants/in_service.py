"""Faults in how the service treats its database, its processes, its clock and its peers."""

import functools
import random
from contextlib import suppress

from flask import has_request_context, request

from bench.torture.plants.registry import plantable, replace
from streamsvc.cli.supervisor import Supervisor
from streamsvc.gateways.payments.stripe import StripeProvider
from streamsvc.http import idempotency
from streamsvc.operations.maintenance import health
from streamsvc.operations.playback import playing
from streamsvc.storage import database, leases, postgresql, write_queue
from streamsvc.storage.database import DatabaseSession, new_id


@plantable
def new_provider_key():
    """Every attempt to charge has a new key at the payment provider, and loses one response in three."""
    charge = StripeProvider.charge

    @functools.wraps(charge)
    def charge_with_new_key(self, request):
        charge(self, request._replace(key=new_id("pay"))) if random.random() < 0.3 else None
        return charge(self, request)

    replace(StripeProvider, "charge", charge_with_new_key)


@plantable
def lost_commit():
    """One commit in ten of a viewer's request is rolled back without an error; what prepares the phase is kept."""
    commit = DatabaseSession.commit

    def commit_or_lose(self):
        is_by_viewer = has_request_context() and not request.path.startswith("/v1/admin/")
        if is_by_viewer and random.random() < 0.1:
            self.flush()
            self.rollback()
        else:
            commit(self)

    replace(DatabaseSession, "commit", commit_or_lose)


@plantable
def one_slot_more():
    """An account may have one stream more than its plan allows."""
    limits = playing.streams.StreamLimits
    replace(playing.streams, "StreamLimits", lambda streams, *rest: limits(streams + 1, *rest))


@plantable
def no_hang_watchdog():
    """Nobody notices a database that hangs."""
    from streamsvc.storage import hang_watchdog

    replace(hang_watchdog.HangWatchdog, "watch", lambda self, engine: None)


@plantable
def async_commit():
    """Commits on PostgreSQL do not wait for the disk."""

    for name in ("BEGIN", "_CONFIGURE_IF_DIRECT"):
        statement = getattr(postgresql, name)
        planted = statement.replace("synchronous_commit = on", "synchronous_commit = off")
        planted = planted.replace("'synchronous_commit', 'on'", "'synchronous_commit', 'off'")
        assert planted != statement
        replace(postgresql, name, planted)


@plantable
def patient_lock():
    """A transaction on SQLite waits for its lock for a minute."""
    replace(write_queue, "TIMEOUT_S", 60.0)


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

    replace(Supervisor, "_retire", kill_and_retire)


@plantable
def lying_readiness():
    """The readiness check writes nothing, and takes no notice of refused writes."""
    replace(health.WriteCheck, "_write", lambda self: True)
    replace(health, "was_refused_for_space", lambda: False)


@plantable
def ignored_key():
    """Every request has an idempotency key of its own."""
    read = idempotency._read_request_key

    def read_new_key(*arguments):
        key = read(*arguments)
        if key:
            key.id = new_id("key")
        return key

    replace(idempotency, "_read_request_key", read_new_key)


@plantable
def deferred_begin():
    """A transaction on SQLite begins without the write lock."""
    replace(database, "_begin_immediate", lambda connection, *_: connection.exec_driver_sql("BEGIN DEFERRED"))


@plantable
def long_lease():
    """A lease outlives its process by a minute."""
    replace(leases, "LEASE_S", 60.0)


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

        replace(peers, "_deadline_s", lambda peer: 60.0)
