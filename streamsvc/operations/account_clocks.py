"""The sandbox clocks of single accounts: each runs one account's billing ahead of the service's time.

A clock shows the moment to which it was moved until the service's time has come there. A move runs the jobs of the
account's billing, each at the moment it falls due; what a request does not finish by its deadline, a worker goes on
with.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from streamsvc import clock
from streamsvc.gateways.peers import lift_call_budget
from streamsvc.models import Account, AccountClock, Job
from streamsvc.models.accounts import GUEST
from streamsvc.models.subscriptions import (
    CreditNote,
    GiftPurchase,
    Invoice,
    Payment,
    PaymentMethod,
    Payout,
    Refund,
    Subscription,
)
from streamsvc.operations.billing.core import voiding
from streamsvc.operations.billing.core.aggregate import load_locked
from streamsvc.operations.billing.subscriptions import changes
from streamsvc.operations.sandbox import MOVE_LEASE, is_clock_moving, is_move_over
from streamsvc.rules.billing.inputs import CancellationInput
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.rules.refusals.sandbox import ClockIsMoving, ClockMovesForward
from streamsvc.storage.database import db, execute_write, fetch_all, fetch_one, insert
from streamsvc.worker import jobs

MOVE_TIMEOUT_S = 10.0
"""How long a request or a worker goes on moving a clock."""
OTHER_JOBS = ("accounts.", "mail.proof", "webhook.")
"""Kinds of jobs that are not an account's billing, although they name it."""
OWNED: dict[str, Any] = {
    "sub": Subscription,
    "inv": Invoice,
    "crn": CreditNote,
    "pay": Payment,
    "ref": Refund,
    "pyo": Payout,
    "gpu": GiftPurchase,
    "pme": PaymentMethod,
}
"""The resources of an account's billing, by the prefix of their ids."""
END_OF_TEST: CancellationInput = {
    "when": "now",
    "effective_date": None,
    "credit": "none",
    "reason": "sandbox clock deleted",
    "feedback": None,
}


@dataclass(frozen=True)
class ClockState:
    """What an account's clock shows, and how far its last move has come."""

    now: datetime
    target: datetime
    is_advancing: bool
    progress_percent: int
    jobs_run: int


def find_clock_state(account_id: str, now: datetime) -> ClockState:
    """Return the state of the account's clock; without a clock of its own, it shows the service's time, `now`.

    Raises NotFound if there is no such account.
    """
    _require_account(account_id)
    row = fetch_one(sa.select(AccountClock.__table__).where(AccountClock.account_id == account_id))
    if row is None:
        return ClockState(now, now, False, 100, 0)
    distance = row.target - row.moved_from
    percent = int(100 * ((row.shows - row.moved_from) / distance)) if distance else 100
    return ClockState(max(row.shows, now), max(row.target, now), row.shows < row.target, percent, row.jobs_run)


def move_account_clock(account_id: str, to: datetime, now: datetime, timeout_s: float = MOVE_TIMEOUT_S) -> ClockState:
    """Move the account's clock to `to`, and run each job of its billing on the way at the moment it falls due.

    `now`: the service's time. Returns after `timeout_s` at the latest, but for the job that is running then. Raises
    NotFound, ClockMovesForward, or ClockIsMoving if this clock or the service's is being moved.
    """
    _require_account(account_id)
    if is_clock_moving():
        raise ClockIsMoving
    values = {"account_id": account_id, "shows": now, "moved_from": now, "target": now, "jobs_run": 0}
    execute_write(insert(AccountClock).values(values).on_conflict_do_nothing(index_elements=["account_id"]))
    with _moving(account_id):
        shows = max(AccountClock.find_time(account_id) or now, now)
        if to < shows:
            raise ClockMovesForward
        _update_clock(account_id, shows=shows, moved_from=shows, target=to, jobs_run=0)
        _adopt_jobs(account_id)
        _run_jobs(account_id, timeout_s)
    return find_clock_state(account_id, now)


def delete_account_clock(account_id: str, now: datetime) -> None:
    """Delete the account's clock: its billing follows the service's time again.

    A live subscription that was taken ahead of that time ends without credit, since it cannot go back. Raises NotFound,
    ClockIsMoving.
    """
    _require_account(account_id)
    if AccountClock.find_time(account_id) is None:
        raise NotFound
    with _moving(account_id):
        shows = AccountClock.find_time(account_id) or now
        _update_clock(account_id, target=shows)
        _run_jobs(account_id, MOVE_TIMEOUT_S)
        if shows > now and (subscription := Subscription.find_live(account_id)):
            with clock.frozen_at(shows, account_id):
                aggregate = load_locked(subscription.id, shows)
                voiding.revert_unpaid_changes(aggregate)
                changes.cancel_subscription(aggregate, END_OF_TEST, account_id)
                aggregate.save_projection()
                db.session.commit()
        db.session.rollback()  # looking for a subscription began a transaction: the next writes use other connections
        _update_clock(account_id, target=shows)
        _run_jobs(account_id, MOVE_TIMEOUT_S)  # the mails of the cancellation
        db.session.execute(sa.update(Job).where(Job.clock_owner == account_id).values(clock_owner=None))
        db.session.execute(sa.delete(AccountClock).where(AccountClock.account_id == account_id))
        db.session.commit()


def continue_moves(now: datetime) -> int:
    """Go on with moves that a request left unfinished, and run what has fallen due on accounts' clocks since.

    `now`: the service's time. Returns the number of jobs run.
    """
    is_free = is_move_over(AccountClock.moving_until)
    jobs_run = 0
    for row in fetch_all(sa.select(AccountClock.account_id, AccountClock.shows, AccountClock.target).where(is_free)):
        if row.target <= row.shows and (
            row.shows <= now or not jobs.find_next_due_job(row.shows, row.account_id)
        ):  # from then on its jobs fall due by the service's time
            continue
        try:
            with _moving(row.account_id):
                jobs_run += _run_jobs(row.account_id, MOVE_TIMEOUT_S)
        except ClockIsMoving:
            continue
    return jobs_run


def _require_account(account_id: str) -> None:
    """Raise NotFound unless there is such an account."""
    is_customer = Account.status.not_in(("deleted", GUEST))
    if fetch_one(sa.select(Account.id).where(Account.id == account_id, is_customer)) is None:
        raise NotFound


@contextmanager
def _moving(account_id: str) -> Iterator[None]:
    """Hold the lease for moving the clock. Raises ClockIsMoving."""
    wall = clock.wall_time()
    is_free = is_move_over(AccountClock.moving_until)
    if not execute_write(
        sa.update(AccountClock)
        .where(AccountClock.account_id == account_id, is_free)
        .values(moving_until=wall + MOVE_LEASE)
    ):
        raise ClockIsMoving
    try:
        yield
    finally:
        db.session.remove()
        execute_write(sa.update(AccountClock).where(AccountClock.account_id == account_id).values(moving_until=None))


def _update_clock(account_id: str, **values: datetime | int) -> None:
    """Update the clock and renew the lease for moving it."""
    values["moving_until"] = clock.wall_time() + MOVE_LEASE
    execute_write(sa.update(AccountClock).where(AccountClock.account_id == account_id).values(**values))


def _run_jobs(account_id: str, timeout_s: float) -> int:
    """Run the account's jobs up to the clock's target, each at its moment, until the timeout. Returns their number.

    Afterwards the clock shows the target, or the moment of the last job if there was no time for the others.
    """
    deadline = time.monotonic() + timeout_s
    row = fetch_one(sa.select(AccountClock.__table__).where(AccountClock.account_id == account_id))
    assert row is not None, "the lease was taken on it"
    lift_call_budget()
    shows, jobs_run = row.shows, 0
    while jobs.find_next_due_job(row.target, account_id):
        if time.monotonic() >= deadline:
            return jobs_run
        job = jobs.lease_job_of_account(account_id, row.target)
        if job is None:  # a worker has leased it
            time.sleep(0.02)
            continue
        shows, jobs_run = max(shows, job.run_at), jobs_run + 1
        _update_clock(account_id, shows=shows, jobs_run=row.jobs_run + jobs_run)
        jobs.run_job(job, shows)
    _update_clock(account_id, shows=row.target)
    return jobs_run


def _adopt_jobs(account_id: str) -> None:
    """Let the open jobs of the account's billing run by its clock: those whose payload names it or what it has."""
    names = {account_id, *_list_owned_ids(account_id)}
    email = fetch_one(sa.select(Account.email).where(Account.id == account_id))
    names.add(email.email if email else account_id)
    open_jobs = sa.select(Job.id, Job.kind, Job.payload).where(jobs.IS_OPEN, Job.clock_owner.is_(None))
    adopted = [
        job.id
        for job in fetch_all(open_jobs)
        if not job.kind.startswith(OTHER_JOBS)
        and any(isinstance(value, str) and value in names for value in job.payload.values())
    ]
    for first in range(0, len(adopted), jobs.MAX_BATCH_SIZE):
        chunk = adopted[first : first + jobs.MAX_BATCH_SIZE]
        execute_write(sa.update(Job).where(Job.id.in_(chunk)).values(clock_owner=account_id))


def find_owner(resource_id: str) -> str | None:
    """Find the account to whose billing the id belongs, which may be its own; None if it is of no account."""
    prefix = resource_id.partition("_")[0]
    if prefix == "acc":
        return resource_id
    if prefix not in OWNED:
        return None
    row = fetch_one(_select_owned(prefix).where(OWNED[prefix].id == resource_id))
    return row.account_id if row else None


def _list_owned_ids(account_id: str) -> Iterator[str]:
    for prefix, model in OWNED.items():
        owner = Invoice.account_id if model is Refund else model.account_id
        yield from (row.id for row in fetch_all(_select_owned(prefix).where(owner == account_id)))


def _select_owned(prefix: str) -> sa.Select:
    """Select the ids of a kind of resource, and the account that each belongs to."""
    model = OWNED[prefix]
    if model is Refund:  # belongs to the account of its invoice
        return sa.select(Refund.id, Invoice.account_id).join(Invoice, Invoice.id == Refund.invoice_id)
    return sa.select(model.id, model.account_id)
