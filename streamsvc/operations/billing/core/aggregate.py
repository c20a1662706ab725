"""Where a subscription stands: its row is worked out anew from its history, and its next due moment gets a job."""

from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import cache
from typing import NamedTuple

import sqlalchemy as sa
from flask import current_app

from streamsvc.models import Account
from streamsvc.models.subscriptions import Discount, Invoice, Subscription
from streamsvc.operations.billing.core import event_store, issuing, ledger
from streamsvc.operations.billing.core.notices import reminder_on
from streamsvc.operations.outbox.webhooks import publish_event
from streamsvc.rules.billing.calendar import civil_day, starts_at
from streamsvc.rules.billing.dunning import Ladder
from streamsvc.rules.billing.lines import replay
from streamsvc.rules.billing.timeline import Timeline
from streamsvc.storage import unit_of_work
from streamsvc.storage.database import db, lock
from streamsvc.worker import jobs

JOB = "subscription.due"
AGAIN_AFTER = timedelta(minutes=1)
ladder_of = cache(Ladder.parse)


@dataclass
class Standing:
    """One subscription under its account's lock, and what its history amounts to today."""

    account: Account
    subscription: Subscription
    now: datetime
    today: date
    facts: event_store.fact.Facts
    timeline: Timeline
    before: tuple
    """What the world was last told of it."""
    attended: bool = False
    """Whether all that is due was done just now: what still is waits for somebody else."""

    @property
    def ladder(self) -> Ladder:
        """What happens to whoever does not pay."""
        return ladder_of(current_app.extensions["settings"].dunning)

    def suspended_from(self) -> date | None:
        """The first day that the row's debts took access away, if that day has passed."""
        since = self.subscription.past_due_since
        day = since and self.ladder.suspends_on(since)
        return day if day and day < self.today else None

    def happen(self, event_type, *details, actor: str | None = None, on: date | None = None, **more) -> None:
        """Record an event and count it in."""
        event = event_type(event_store.next_ref(self.facts), on or self.today, *details, **more)
        event_store.record(self.subscription, event, actor, self.now)
        self.facts = self.facts.plus(event)
        self.timeline = replay(self.facts, self.today)

    def bill(self, reason: str, gated: bool = False, review_until: datetime | None = None) -> list[Invoice]:
        """Invoice every line that should exist and does not: one invoice for each day on which lines fell due.

        None while the subscription is parked.
        """
        if self.subscription.parked_at:
            return []
        booked = self.facts.booked
        due = [one for one in self.timeline.lines if one.bill_on <= self.today and one.identity not in booked]
        invoices = []
        for day in sorted({line.bill_on for line in due}):
            lines = [line for line in due if line.bill_on == day]
            invoices.append(self._issue(lines, reason, gated, review_until))
        if invoices:
            issuing.spend_credit(self.account.id, self.subscription.currency, self.now)
        return invoices

    def draft(self, lines) -> issuing.Draft:
        credit = ledger.account_credit(self.account.id, self.subscription.currency)
        given = self.subscription.id
        discounts = unit_of_work.known(("discounts", given), lambda: Discount.running(given))
        running = [one for one in discounts if one.ended_at is None]
        return issuing.draft(self.account, self.subscription, lines, running, credit)

    def discounts(self) -> list[Discount]:
        """Every coupon the subscription ever had."""
        return list(db.session.scalars(sa.select(Discount).where(Discount.subscription_id == self.subscription.id)))

    def _issue(self, lines, reason, gated, review_until):
        draft = self.draft(lines)
        invoice = issuing.issue(draft, reason, self.now, self.today, gated, review_until)
        self._book({line.identity: p.net_minor for line, p in zip(lines, draft.totals.positions, strict=True)})
        return invoice

    def _book(self, net_minor: dict[str, int]) -> None:
        """Count lines as booked. One that was booked at what it asks for leaves the timeline as it is."""
        booked = {identity: event_store.fact.Booked(net) for identity, net in net_minor.items()}
        self.facts = replace(self.facts, booked={**self.facts.booked, **booked})
        if any(net_minor.get(line.identity, line.amount_minor) != line.amount_minor for line in self.timeline.lines):
            self.timeline = replay(self.facts, self.today)

    def show(self) -> None:
        """Bring the row up to date with the history, and see that somebody comes when there is next something to do.

        Whoever climbs back from a suspension is credited the days without access.
        """
        before = self.suspended_from()
        project(self)
        live = self.subscription.status not in ("canceled", "incomplete")
        if before and live and not self.suspended_from():
            self.happen(event_store.fact.Suspended, before, self.today)
            self.bill("recovery")
            project(self)
        unit_of_work.flush()

    @property
    def replayed(self) -> "Replayed":
        return Replayed(self.facts, self.today, self.timeline)


class Replayed(NamedTuple):
    """A history, and what it amounted to: true as long as nothing was added to it."""

    facts: event_store.fact.Facts
    today: date
    timeline: Timeline


def stand(subscription_id: str, now: datetime) -> Standing:
    """Take the account's lock, read the subscription, replay its history up to today."""
    account, subscription = unit_of_work.known(("held", subscription_id), lambda: _hold(subscription_id))
    today = civil_day(now, subscription.time_zone)
    facts = event_store.facts_of(subscription)
    before = unit_of_work.heard(("replayed", subscription_id))
    unchanged = before is not None and (before.facts, before.today) == (facts, today)
    timeline = before.timeline if unchanged else replay(facts, today)
    return Standing(account, subscription, now, today, facts, timeline, state_of(subscription))


def _hold(subscription_id: str) -> tuple[Account, Subscription]:
    owner = db.session.scalar(sa.select(Subscription.account_id).where(Subscription.id == subscription_id))
    return lock(Account, owner), db.session.get(Subscription, subscription_id, populate_existing=True)


def project(at: Standing) -> None:
    """Write what the timeline and the open invoices say onto the row."""
    row, timeline = at.subscription, at.timeline
    row.price_id, row.plan_id = timeline.price.id, event_store.price_of(timeline.price.id).plan_id
    row.anchor_day, row.trial_end = timeline.anchor_day, timeline.trial_end
    if timeline.period:
        row.period_start, row.period_end = timeline.period.start, timeline.period.end
    row.cancel_at = timeline.ends_on
    pending = timeline.scheduled[0] if timeline.scheduled else None
    row.pending_price_id = pending and pending.price.id
    row.pending_on = pending and max(pending.not_before, timeline.paid_through or timeline.paid_from)
    overdue = overdue_invoices(row)
    row.past_due_since = min((one.first_failed_on for one in overdue), default=None)
    row.status = status_of(row, timeline, at.today)
    row.access_until = access_until(row, at.ladder)
    if state_of(row) != at.before:
        publish_event("subscription.changed", row.account_id, at.now, **told(row))
        at.before = state_of(row)
    row.due_at = next_due(at, at.ladder)
    if row.due_at:
        soonest = at.now + AGAIN_AFTER if at.attended else at.now  # what has passed had its job, whose name is taken
        moment = row.due_at if row.due_at > at.now else soonest
        jobs.enqueue(JOB, {"subscription_id": row.id}, moment, f"{row.id}@{moment.isoformat()}")


def state_of(row: Subscription) -> tuple:
    """Whatever the world outside wants to hear of when it changes."""
    return row.status, row.price_id, row.cancel_at, row.pending_price_id


def told(row: Subscription) -> dict:
    """What an event tells of a subscription."""
    names = ("status", "plan_id", "price_id", "period_start", "period_end", "trial_end", "cancel_at", "cancel_reason")
    values = {name: getattr(row, name) for name in names}
    dates = {name: value.isoformat() if isinstance(value, date) else value for name, value in values.items()}
    return {"subscription_id": row.id, **dates}


def overdue_invoices(row: Subscription) -> list[Invoice]:
    """Open invoices of the subscription that could not be collected at the first try."""
    known = unit_of_work.known(("open invoices", row.id), lambda: Invoice.open_of_subscription(row.id))
    return [invoice for invoice in known if invoice.status == "open" and invoice.first_failed_on]


def status_of(row: Subscription, timeline: Timeline, today: date) -> str:
    if timeline.ended_on or row.status == "canceled":
        return "canceled"
    if timeline.paused_on:
        return "paused"
    if row.status == "incomplete" or timeline.started > today:
        return "incomplete"
    if row.past_due_since:
        return "past_due"
    return "trialing" if timeline.paid_through is None else "active"


def access_until(row: Subscription, ladder: Ladder) -> datetime | None:
    """The earliest known end of access, as a moment."""
    ends = [row.cancel_at] if row.cancel_at else []
    if row.past_due_since:
        ends.append(ladder.suspends_on(row.past_due_since))
    return starts_at(min(ends), row.time_zone) if ends else None


def next_due(at: Standing, ladder: Ladder) -> datetime | None:
    """When time alone next changes something: a period, an end, a resumption, a retry, a step of the ladder."""
    row, timeline = at.subscription, at.timeline
    if row.status == "canceled" or row.parked_at:
        return None
    if row.status == "incomplete":
        return starts_at(timeline.started, row.time_zone) if timeline.started > at.today else None
    reminder = reminder_on(at)
    days = [timeline.next_bill_on, timeline.ends_on, reminder and reminder[0]]
    for invoice in overdue_invoices(row):
        if not any(one.is_in_flight for one in invoice.payments):  # else its outcome comes first, and looks again
            days.append(invoice.next_attempt_on)
    if row.past_due_since:
        days.append(ladder.cancels_on(row.past_due_since))
    moments = [starts_at(day, row.time_zone) for day in days if day]
    if row.resumes_at and timeline.paused_on:
        moments.append(row.resumes_at)
    return min(moments, default=None)
