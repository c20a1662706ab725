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
from streamsvc.operations.billing.core.notices import next_reminder
from streamsvc.operations.outbox.webhooks import publish_event
from streamsvc.rules.billing.calendar import civil_day, starts_at
from streamsvc.rules.billing.dunning import Ladder
from streamsvc.rules.billing.lines import replay
from streamsvc.rules.billing.timeline import Timeline
from streamsvc.storage import unit_of_work
from streamsvc.storage.database import db, lock_row
from streamsvc.worker import jobs

DUE_JOB = "subscription.due"
DUE_AGAIN_AFTER = timedelta(minutes=1)
dunning_schedule_of = cache(Ladder.parse)


@dataclass
class SubscriptionAggregate:
    """One subscription under its account's lock, and what its history amounts to today."""

    account: Account
    subscription: Subscription
    now: datetime
    today: date
    facts: event_store.fact.Facts
    timeline: Timeline
    published_state: tuple
    """What the world was last told of it."""
    is_due_work_done: bool = False
    """Whether all that is due was done just now: what still is waits for somebody else."""

    @property
    def dunning_schedule(self) -> Ladder:
        """What happens to whoever does not pay."""
        return dunning_schedule_of(current_app.extensions["settings"].dunning)

    def suspended_from(self) -> date | None:
        """The first day that the row's debts took access away, if that day has passed."""
        since = self.subscription.past_due_since
        day = since and self.dunning_schedule.suspends_on(since)
        return day if day and day < self.today else None

    def record_event(self, event_type, *details, actor: str | None = None, on: date | None = None, **more) -> None:
        """Record an event and count it in."""
        event = event_type(event_store.next_event_ref(self.facts), on or self.today, *details, **more)
        event_store.append_event(self.subscription, event, actor, self.now)
        self.facts = self.facts.plus(event)
        self.timeline = replay(self.facts, self.today)

    def create_due_invoices(
        self, reason: str, requires_payment: bool = False, review_until: datetime | None = None
    ) -> list[Invoice]:
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
            invoices.append(self._create_invoice(lines, reason, requires_payment, review_until))
        if invoices:
            issuing.pay_open_invoices_from_credit(self.account.id, self.subscription.currency, self.now)
        return invoices

    def compute_invoice(self, lines) -> issuing.ComputedInvoice:
        credit = ledger.account_credit(self.account.id, self.subscription.currency)
        given = self.subscription.id
        discounts = unit_of_work.get_or_load(("discounts", given), lambda: Discount.running(given))
        running = [one for one in discounts if one.ended_at is None]
        return issuing.compute_invoice(self.account, self.subscription, lines, running, credit)

    def list_discounts(self) -> list[Discount]:
        """Every coupon the subscription ever had."""
        return list(db.session.scalars(sa.select(Discount).where(Discount.subscription_id == self.subscription.id)))

    def _create_invoice(self, lines, reason, requires_payment, review_until):
        draft = self.compute_invoice(lines)
        invoice = issuing.create_invoice(draft, reason, self.now, self.today, requires_payment, review_until)
        self._book_lines({line.identity: p.net_minor for line, p in zip(lines, draft.totals.positions, strict=True)})
        return invoice

    def _book_lines(self, net_minor: dict[str, int]) -> None:
        """Count lines as booked. One that was booked at what it asks for leaves the timeline as it is."""
        booked = {identity: event_store.fact.Booked(net) for identity, net in net_minor.items()}
        self.facts = replace(self.facts, booked={**self.facts.booked, **booked})
        if any(net_minor.get(line.identity, line.amount_minor) != line.amount_minor for line in self.timeline.lines):
            self.timeline = replay(self.facts, self.today)

    def save_projection(self) -> None:
        """Bring the row up to date with the history, and see that somebody comes when there is next something to do.

        Whoever climbs back from a suspension is credited the days without access.
        """
        before = self.suspended_from()
        update_projection(self)
        live = self.subscription.status not in ("canceled", "incomplete")
        if before and live and not self.suspended_from():
            self.record_event(event_store.fact.Suspended, before, self.today)
            self.create_due_invoices("recovery")
            update_projection(self)
        unit_of_work.flush_session()

    @property
    def replayed_history(self) -> "ReplayedHistory":
        return ReplayedHistory(self.facts, self.today, self.timeline)


class ReplayedHistory(NamedTuple):
    """A history, and what it amounted to: true as long as nothing was added to it."""

    facts: event_store.fact.Facts
    today: date
    timeline: Timeline


def load_locked(subscription_id: str, now: datetime) -> SubscriptionAggregate:
    """Take the account's lock, read the subscription, replay its history up to today."""
    account, subscription = unit_of_work.get_or_load(
        ("held", subscription_id), lambda: _lock_account_and_subscription(subscription_id)
    )
    today = civil_day(now, subscription.time_zone)
    facts = event_store.load_facts(subscription)
    before = unit_of_work.cached(("replayed", subscription_id))
    unchanged = before is not None and (before.facts, before.today) == (facts, today)
    timeline = before.timeline if unchanged else replay(facts, today)
    return SubscriptionAggregate(account, subscription, now, today, facts, timeline, public_state(subscription))


def _lock_account_and_subscription(subscription_id: str) -> tuple[Account, Subscription]:
    owner = db.session.scalar(sa.select(Subscription.account_id).where(Subscription.id == subscription_id))
    return lock_row(Account, owner), db.session.get(Subscription, subscription_id, populate_existing=True)


def update_projection(aggregate: SubscriptionAggregate) -> None:
    """Write what the timeline and the open invoices say onto the row."""
    row, timeline = aggregate.subscription, aggregate.timeline
    row.price_id, row.plan_id = timeline.price.id, event_store.load_price(timeline.price.id).plan_id
    row.anchor_day, row.trial_end = timeline.anchor_day, timeline.trial_end
    if timeline.period:
        row.period_start, row.period_end = timeline.period.start, timeline.period.end
    row.cancel_at = timeline.ends_on
    pending = timeline.scheduled[0] if timeline.scheduled else None
    row.pending_price_id = pending and pending.price.id
    row.pending_on = pending and max(pending.not_before, timeline.paid_through or timeline.paid_from)
    overdue = list_overdue_invoices(row)
    row.past_due_since = min((one.first_failed_on for one in overdue), default=None)
    row.status = compute_status(row, timeline, aggregate.today)
    row.access_until = compute_access_until(row, aggregate.dunning_schedule)
    if public_state(row) != aggregate.published_state:
        publish_event("subscription.changed", row.account_id, aggregate.now, **subscription_payload(row))
        aggregate.published_state = public_state(row)
    row.due_at = compute_next_due(aggregate, aggregate.dunning_schedule)
    if row.due_at:
        soonest = (
            aggregate.now + DUE_AGAIN_AFTER if aggregate.is_due_work_done else aggregate.now
        )  # what has passed had its job, whose name is taken
        moment = row.due_at if row.due_at > aggregate.now else soonest
        jobs.enqueue_job(DUE_JOB, {"subscription_id": row.id}, moment, f"{row.id}@{moment.isoformat()}")


def public_state(subscription: Subscription) -> tuple:
    """Whatever the world outside wants to hear of when it changes."""
    return subscription.status, subscription.price_id, subscription.cancel_at, subscription.pending_price_id


def subscription_payload(subscription: Subscription) -> dict:
    """What an event tells of a subscription."""
    names = ("status", "plan_id", "price_id", "period_start", "period_end", "trial_end", "cancel_at", "cancel_reason")
    values = {name: getattr(subscription, name) for name in names}
    dates = {name: value.isoformat() if isinstance(value, date) else value for name, value in values.items()}
    return {"subscription_id": subscription.id, **dates}


def list_overdue_invoices(subscription: Subscription) -> list[Invoice]:
    """Open invoices of the subscription that could not be collected at the first try."""
    known = unit_of_work.get_or_load(
        ("open invoices", subscription.id), lambda: Invoice.open_of_subscription(subscription.id)
    )
    return [invoice for invoice in known if invoice.status == "open" and invoice.first_failed_on]


def compute_status(subscription: Subscription, timeline: Timeline, today: date) -> str:
    if timeline.ended_on or subscription.status == "canceled":
        return "canceled"
    if timeline.paused_on:
        return "paused"
    if subscription.status == "incomplete" or timeline.started > today:
        return "incomplete"
    if subscription.past_due_since:
        return "past_due"
    return "trialing" if timeline.paid_through is None else "active"


def compute_access_until(subscription: Subscription, dunning_schedule: Ladder) -> datetime | None:
    """The earliest known end of access, as a moment."""
    ends = [subscription.cancel_at] if subscription.cancel_at else []
    if subscription.past_due_since:
        ends.append(dunning_schedule.suspends_on(subscription.past_due_since))
    return starts_at(min(ends), subscription.time_zone) if ends else None


def compute_next_due(aggregate: SubscriptionAggregate, dunning_schedule: Ladder) -> datetime | None:
    """When time alone next changes something: a period, an end, a resumption, a retry, a step of the ladder."""
    row, timeline = aggregate.subscription, aggregate.timeline
    if row.status == "canceled" or row.parked_at:
        return None
    if row.status == "incomplete":
        return starts_at(timeline.started, row.time_zone) if timeline.started > aggregate.today else None
    reminder = next_reminder(aggregate)
    days = [timeline.next_bill_on, timeline.ends_on, reminder and reminder[0]]
    for invoice in list_overdue_invoices(row):
        if not any(one.is_in_flight for one in invoice.payments):  # else its outcome comes first, and looks again
            days.append(invoice.next_attempt_on)
    if row.past_due_since:
        days.append(dunning_schedule.cancels_on(row.past_due_since))
    moments = [starts_at(day, row.time_zone) for day in days if day]
    if row.resumes_at and timeline.paused_on:
        moments.append(row.resumes_at)
    return min(moments, default=None)
