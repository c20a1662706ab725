"""The subscription aggregate: a locked subscription, its replayed event history, and the projection stored in its row.

Saving the projection also enqueues a job for the moment at which the subscription is next due.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa

from streamsvc import clock
from streamsvc.gateways.payments import current_provider
from streamsvc.models import Account
from streamsvc.models.subscriptions import Discount, Invoice, Subscription
from streamsvc.operations.billing.core import (
    balances,
    computing,
    debts,
    event_store,
    households,
    invoice_creation,
    items,
    ledger,
    price_changes,
)
from streamsvc.operations.billing.core.notices import next_addon_reminder, next_reminder
from streamsvc.operations.outbox.webhooks import publish_event
from streamsvc.rules.billing import facts as fact
from streamsvc.rules.billing.access import gives_access
from streamsvc.rules.billing.calendar import add_days, civil_day, start_of_day
from streamsvc.rules.billing.dunning import DunningSchedule
from streamsvc.rules.billing.lines import lines_due, replay_timeline
from streamsvc.rules.billing.paid import RENEWAL, Line
from streamsvc.rules.billing.timeline import Timeline
from streamsvc.storage.database import batching_session, db, lock_existing_row, reload_row
from streamsvc.worker import jobs

DUE_JOB = debts.DUE_JOB
DUE_AGAIN_AFTER = timedelta(minutes=1)


@dataclass
class SubscriptionAggregate:
    """A subscription loaded under its account's lock, with its history replayed up to today."""

    account: Account
    subscription: Subscription
    now: datetime
    today: date
    facts: event_store.fact.Facts
    timeline: Timeline
    published_state: tuple
    """The `public_state` as of the last `subscription.changed` event."""
    is_due_work_done: bool = False
    """True once this call has done everything due: what remains due is waiting for something else."""

    @property
    def dunning_schedule(self) -> DunningSchedule:
        """Return the configured dunning schedule."""
        return debts.current_dunning_schedule()

    @property
    def granted_timeline(self) -> Timeline:
        """Return the history without the changes that wait for their payment: what the customer has now."""
        refs = {ref for invoice in list_waiting_invoices(self.subscription) for ref in caused_by(invoice)}
        return replay_timeline(self.facts.without_events(refs), self.today) if refs else self.timeline

    def suspended_from(self) -> date | None:
        """Return the first day of the suspension caused by the row's overdue invoices, if that day has passed.

        It lasts while any of them suspends the access, and counts from the first one that did, paid meanwhile or not.
        It may be tomorrow, since a day that began with access is used.
        """
        since = self.subscription.past_due_since
        day = since and self.dunning_schedule.suspends_on(since)
        return (self.subscription.suspended_since or day) if day and day < self.today else None

    def record_event(
        self, event_type: type[fact.Event], *details: Any, actor: str | None = None, on: date | None = None, **more: Any
    ) -> None:
        """Append an event dated `on` (default: today) and replay the history up to today.

        `event_type`: a class of rules/billing/facts.py, `details` and `more` its own fields, without `ref` and `on`.
        `actor`: the id of the account, operator or API key that caused it; None for the passing of time. An event that
        sets a price also schedules the open price migrations of that price.
        """
        event = event_type(event_store.next_event_ref(self.facts), on or self.today, *details, **more)
        event_store.append_event(self.subscription, event, actor, self.now)
        self.facts = self.facts.with_events(event)
        self.timeline = replay_timeline(self.facts, self.today)
        if isinstance(event, fact.PriceChanged):  # what was announced for the former price is no longer due
            self.subscription.announced_prices = []
        if price_changes.sets_price(event):
            price_changes.schedule_open_migrations(self)

    def create_due_invoices(
        self, reason: str, requires_payment: bool = False, review_until: datetime | None = None
    ) -> list[Invoice]:
        """Invoice every line that is due and not yet booked: one invoice per day on which lines fell due.

        Creates no invoices while the subscription is on billing hold. See `create_invoice` for the arguments.
        """
        if self.subscription.billing_held_at:
            return []
        due = lines_due(self.facts, self.today, self.timeline)
        if households.withdraw_used_offers(self, due):
            due = lines_due(self.facts, self.today, self.timeline)
        invoices = []
        for day in sorted({line.bill_on for line in due}):
            lines = [line for line in due if line.bill_on == day]
            invoices.append(self._create_invoice(lines, reason, requires_payment, review_until))
        if invoices:
            balances.pay_open_invoices_from_credit(self.account.id, self.subscription.currency, self.now)
        return invoices

    def compute_invoice(self, lines: Iterable[Line]) -> computing.ComputedInvoice:
        """Compute the invoice for these lines, with the running discounts and the account credit; write nothing."""
        credit = ledger.account_credit(self.account.id, self.subscription.currency)
        discounts = Discount.list_active(self.subscription.id)
        return computing.compute_invoice(self.account, self.subscription, lines, discounts, credit)

    def list_discounts(self) -> list[Discount]:
        """List every discount the subscription ever had, ended ones included."""
        return list(db.session.scalars(sa.select(Discount).where(Discount.subscription_id == self.subscription.id)))

    def _create_invoice(
        self, lines: Iterable[Line], reason: str, requires_payment: bool, review_until: datetime | None
    ) -> Invoice:
        computed = self.compute_invoice(lines)
        invoice = invoice_creation.create_invoice(
            computed, reason, self.now, self.today, requires_payment, review_until
        )
        self._book_lines(
            {line.identity: position.net_minor for line, position in zip(lines, computed.totals.positions, strict=True)}
        )
        return invoice

    def _book_lines(self, net_minor: dict[str, int]) -> None:
        """Mark lines as booked at these net amounts, by line identity.

        Replays the history only if an amount differs from the line's own: otherwise the timeline stays the same.
        """
        booked = {identity: event_store.fact.BookedLine(net) for identity, net in net_minor.items()}
        self.facts = replace(self.facts, booked={**self.facts.booked, **booked})
        if any(net_minor.get(line.identity, line.amount_minor) != line.amount_minor for line in self.timeline.lines):
            self.timeline = replay_timeline(self.facts, self.today)

    def save_projection(self) -> None:
        """Update the row from the history and enqueue a job for the next due moment.

        A subscription that recovers from a suspension is credited for the days without access, unless a debt was
        written off instead of being paid.
        """
        row, suspended_from = self.subscription, self.suspended_from()
        had_access = gives_access(row.status, row.access_until, self.now)
        update_projection(self)
        suspends_from = self.suspended_from()
        if suspends_from and had_access:  # a second dispute suspends at once, as if it had come with the first one
            suspends_from = max(suspends_from, add_days(self.today, 1))
        row.suspended_since = (suspended_from or suspends_from) if suspends_from else None
        has_recovered = row.status not in ("canceled", "incomplete") and not suspends_from
        if suspended_from and has_recovered:
            self._credit_suspension(suspended_from)
        db.session.flush()

    def _credit_suspension(self, since: date) -> None:
        """Credit the days from `since` to yesterday, unless a debt was written off in the meantime."""
        if since < self.today and not debts.was_written_off_since(self.subscription, since):
            self.record_event(event_store.fact.Suspended, since, self.today)
            self.create_due_invoices("recovery")
            update_projection(self)

    @property
    def replayed_history(self) -> "ReplayedHistory":
        """Return the history and its timeline, to be reused by the next load."""
        return ReplayedHistory(self.facts, self.today, self.timeline)


class ReplayedHistory(NamedTuple):
    """A history and the timeline replayed from it; valid until an event is appended."""

    facts: event_store.fact.Facts
    today: date
    timeline: Timeline


def load_locked(subscription_id: str, now: datetime) -> SubscriptionAggregate:
    """Lock the account, read the subscription, and replay its history up to today."""
    account_id = db.session.scalar(sa.select(Subscription.account_id).where(Subscription.id == subscription_id))
    account = lock_existing_row(Account, account_id)
    subscription = reload_row(Subscription, subscription_id)
    return build_aggregate(account, subscription, event_store.load_facts(subscription_id), now)


def start_aggregate(account: Account, subscription: Subscription, now: datetime) -> SubscriptionAggregate:
    """Build the aggregate of a subscription that was just added and has no history yet; its account is locked."""
    batching_session().start_lists(subscription.id, Invoice.subscription_id, Discount.subscription_id)
    return build_aggregate(account, subscription, event_store.fact.Facts(()), now)


def build_aggregate(
    account: Account,
    subscription: Subscription,
    facts: event_store.fact.Facts,
    now: datetime,
    previous: ReplayedHistory | None = None,
) -> SubscriptionAggregate:
    """Build the aggregate of a subscription whose account is locked.

    `previous`: its history as replayed a moment ago, which is used again if neither the facts nor the day have changed.
    """
    now = clock.account_now(account.id, now)
    today = civil_day(now, subscription.time_zone)
    if previous is not None and (previous.facts, previous.today) == (facts, today):
        timeline = previous.timeline
    else:
        timeline = replay_timeline(facts, today)
    return SubscriptionAggregate(account, subscription, now, today, facts, timeline, public_state(subscription))


def update_projection(aggregate: SubscriptionAggregate) -> None:
    """Write the state derived from the timeline and the open invoices to the row.

    A change whose invoice waits for its payment does not count yet: until then the row says what was before.
    Publishes `subscription.changed` if the public state changed, and enqueues a job for the next due moment.
    """
    row, timeline = aggregate.subscription, aggregate.granted_timeline
    row.price_id, row.plan_id = timeline.price.id, event_store.load_price(timeline.price.id).plan_id
    row.anchor_day, row.anchor_month, row.trial_end = timeline.anchor_day, timeline.anchor_month, timeline.trial_end
    row.bridge_start = timeline.bridge.start if timeline.bridge else None
    row.bridge_end = timeline.bridge.end if timeline.bridge else None
    if timeline.period:
        row.period_start, row.period_end = timeline.period.start, timeline.period.end
    row.cancel_at = timeline.ends_on
    row.addons, row.addon_grants = (
        items.addon_rows(timeline),
        items.grant_rows(timeline, aggregate.today, row.time_zone),
    )
    was_past_due_since = row.past_due_since
    overdue = list_overdue_invoices(row)
    row.past_due_since = min((day for invoice in overdue if (day := invoice.first_failed_on)), default=None)
    if row.past_due_since and row.past_due_since != was_past_due_since:
        debts.enqueue_suspension_notice(row.account_id, row.past_due_since, aggregate.now)
    row.status = compute_status(row, timeline, aggregate.today)
    if not timeline.paused_on and row.status != "canceled":
        row.paused_at = row.resumes_at = None
    row.access_until = compute_access_until(row, aggregate.dunning_schedule)
    price_changes.project_prices(aggregate)
    if aggregate.published_state[0] == "incomplete" != row.status and row.open_migrations:
        price_changes.enqueue_notice(aggregate)
    if public_state(row) != aggregate.published_state:
        publish_event("subscription.changed", row.account_id, aggregate.now, **subscription_payload(row))
        aggregate.published_state = public_state(row)
    row.due_at = compute_next_due(aggregate, timeline, aggregate.dunning_schedule)
    if row.due_at:
        # A due moment in the past has had its job, whose deduplication key is taken: use a new moment.
        soonest = aggregate.now + DUE_AGAIN_AFTER if aggregate.is_due_work_done else aggregate.now
        due_at = row.due_at if row.due_at > aggregate.now else soonest
        jobs.enqueue_job(DUE_JOB, {"subscription_id": row.id}, due_at, f"{row.id}@{due_at.isoformat()}")
    if not collects_debts(row):
        debts.enqueue_collection(aggregate.account, aggregate.now)


def collects_debts(subscription: Subscription) -> bool:
    """Whether the subscription's own job also collects what its account owes besides."""
    return subscription.status not in ("canceled", "incomplete") and subscription.billing_held_at is None


def update_live_subscription(account: Account, now: datetime) -> None:
    """Update the account's live subscription, whose access follows its debts, and schedule their collection."""
    db.session.flush()
    subscription = Subscription.find_live(account.id)
    if subscription:
        load_locked(subscription.id, now).save_projection()
    else:
        debts.enqueue_collection(account, now)


def public_state(subscription: Subscription) -> tuple:
    """Return the values whose change is published as `subscription.changed`."""
    return subscription.status, subscription.price_id, subscription.cancel_at, subscription.pending_price_id


def subscription_payload(subscription: Subscription) -> dict:
    """Return the event payload for a subscription."""
    names = ("status", "plan_id", "price_id", "period_start", "period_end", "trial_end", "cancel_at", "cancel_reason")
    values = {name: getattr(subscription, name) for name in names}
    dates = {name: value.isoformat() if isinstance(value, date) else value for name, value in values.items()}
    source = subscription.source or current_provider().name
    return {"subscription_id": subscription.id, "source": source, **dates}


def list_overdue_invoices(subscription: Subscription) -> list[Invoice]:
    """List the overdue invoices that a live subscription's access depends on; none for one that has ended.

    They are all those of its account, and those of its own that stayed with a previous owner.
    """
    if subscription.status == "canceled":
        return []
    own = Invoice.list_open_for_subscription(subscription.id)
    overdue = debts.list_overdue([*Invoice.list_open(subscription.account_id), *own])
    return list({invoice.id: invoice for invoice in overdue}.values())


def list_waiting_invoices(subscription: Subscription) -> list[Invoice]:
    """List the open invoices of changes that take effect once they are paid for. They have no number yet."""
    if subscription.status == "incomplete":
        return []
    open_invoices = Invoice.list_open_for_subscription(subscription.id)
    return [invoice for invoice in open_invoices if invoice.issued_at is None]


def caused_by(invoice: Invoice) -> set[str]:
    """Return the refs of the events that caused the invoice's lines."""
    return {line.cause for line in invoice.lines if line.cause} - {RENEWAL}


def compute_status(subscription: Subscription, timeline: Timeline, today: date) -> str:
    """Return the subscription's status for its timeline and its overdue invoices."""
    if timeline.ended_on or subscription.status == "canceled":
        return "canceled"
    if timeline.paused_on:
        return "paused"
    if subscription.status == "incomplete" or timeline.started_on > today:
        return "incomplete"
    if subscription.past_due_since:
        return "past_due"
    return "trialing" if timeline.paid_through is None else "active"


def compute_access_until(subscription: Subscription, dunning_schedule: DunningSchedule) -> datetime | None:
    """Return the earliest known end of access: the scheduled end or the dunning suspension, whichever comes first."""
    ends = [subscription.cancel_at] if subscription.cancel_at else []
    if subscription.past_due_since:
        ends.append(dunning_schedule.suspends_on(subscription.past_due_since))
    return start_of_day(min(ends), subscription.time_zone) if ends else None


def compute_next_due(
    aggregate: SubscriptionAggregate, timeline: Timeline, dunning_schedule: DunningSchedule
) -> datetime | None:
    """Return the next moment at which the passage of time alone changes something; None if there is none.

    Candidates: a billing period, the end, an add-on's first charge or end, a reminder, a payment retry, a dunning step,
    and the end of a pause.
    """
    row = aggregate.subscription
    if row.status == "canceled" or row.billing_held_at:
        return None
    if row.status == "incomplete":
        return start_of_day(timeline.started_on, row.time_zone) if timeline.started_on > aggregate.today else None
    reminder = next_reminder(aggregate, timeline)
    days = [timeline.next_due_on, timeline.ends_on, reminder and reminder[0], next_addon_reminder(aggregate, timeline)]
    days += [timeline.addon_end(addon) for addon in timeline.billed_addons]
    # The outcome of a payment in flight computes the next due moment again.
    waiting = debts.list_collectable(list_overdue_invoices(row))
    days += [invoice.next_attempt_on for invoice in waiting if invoice.account_id == row.account_id]
    if row.past_due_since and waiting:
        days.append(dunning_schedule.cancels_on(row.past_due_since))
    moments = [start_of_day(day, row.time_zone) for day in days if day]
    if row.resumes_at and timeline.paused_on:
        moments.append(row.resumes_at)
    return min(moments, default=None)
