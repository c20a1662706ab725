"""The `subscription.due` job: everything that the passage of time causes, at the moment it falls due."""

import logging
import time
from datetime import date, datetime

from streamsvc.models.subscriptions import Invoice, Payment
from streamsvc.operations.billing.core import (
    batches,
    charging,
    debts,
    due_payments,
    households,
    method_selection,
    notices,
    voiding,
)
from streamsvc.operations.billing.core.aggregate import (
    DUE_JOB,
    SubscriptionAggregate,
    list_overdue_invoices,
    load_locked,
)
from streamsvc.operations.billing.invoices import review
from streamsvc.operations.billing.subscriptions import addon_ends
from streamsvc.rules.billing import facts as fact
from streamsvc.rules.billing.calendar import add_days, civil_day
from streamsvc.rules.billing.lines import lines_due
from streamsvc.rules.refusals.billing import PaymentInProgress
from streamsvc.settings import current_settings
from streamsvc.storage.database import db, transaction_began_at
from streamsvc.worker import jobs

MAX_LOCK_S = 0.03
"""How long a batch of renewals may keep others from writing; the size of the next one follows from it."""
log = logging.getLogger("streamsvc.billing")
_batch_size = batches.BatchSize(MAX_LOCK_S, jobs.MAX_BATCH_SIZE)


@jobs.job_handler(DUE_JOB)
def handle_due_subscription(payload: dict, now: datetime) -> None:
    """Process one due subscription."""
    process_due_subscription(payload["subscription_id"], now)


@jobs.batch_job_handler(DUE_JOB)
def handle_due_subscriptions(payloads: list[dict], now: datetime) -> None:
    """Process many due subscriptions in one unit of work."""
    process_due_subscriptions([payload["subscription_id"] for payload in payloads], now)


def process_due_subscription(subscription_id: str, now: datetime) -> None:
    """Do everything that is due for one subscription. Idempotent. Commits."""
    payment_ids = [payment.id for payment in apply_due_work(load_locked(subscription_id, now))]
    db.session.commit()
    for payment_id in payment_ids:
        charging.send_payment(payment_id)


def process_due_subscriptions(subscription_ids: list[str], now: datetime) -> None:
    """Do everything that is due for many subscriptions, as many at a time as MAX_LOCK_S allows. Commits."""
    remaining = list(subscription_ids)
    while remaining:
        batch, remaining = remaining[: _batch_size.value], remaining[_batch_size.value :]
        _batch_size.adapt(len(batch), _process_batch(batch, now))


def process_together_or_alone(subscription_ids: list[str], now: datetime) -> None:
    """Do everything that is due for many subscriptions; one by one if a batch of them fails. Commits."""
    try:
        process_due_subscriptions(subscription_ids, now)
    except Exception as error:
        db.session.rollback()
        log.warning("a batch of due subscriptions failed, processing them one by one: %r", error, exc_info=error)
        for subscription_id in subscription_ids:
            process_due_subscription(subscription_id, now)


def _process_batch(subscription_ids: list[str], now: datetime) -> float:
    """Process subscriptions in one unit of work and send their payments; return the seconds for which it held locks."""
    with batches.lock_batch(subscription_ids, now) as aggregates:
        began_at = transaction_began_at()
        payments = [payment for key in subscription_ids for payment in apply_due_work(aggregates[key])]
        payment_ids = [payment.id for payment in payments]
        replayed = {key: aggregate.replayed_history for key, aggregate in aggregates.items()}
    db.session.commit()
    held_s = time.monotonic() - began_at
    batches.send_payments(payment_ids, replayed)
    return held_s


def apply_due_work(aggregate: SubscriptionAggregate) -> list[Payment]:
    """Book everything that is due. Returns the payments to be sent after the commit."""
    subscription = aggregate.subscription
    try:
        voiding.revert_unpaid_changes(aggregate)
    except PaymentInProgress:  # its outcome is known within a minute: try again then
        retry_at = aggregate.now + charging.RECONCILE_AFTER
        jobs.enqueue_job(
            DUE_JOB, {"subscription_id": subscription.id}, retry_at, f"{subscription.id}@{retry_at.isoformat()}"
        )
        return []
    is_starting = (
        subscription.status == "incomplete"
        and aggregate.timeline.started_on <= aggregate.today
        and subscription.latest_invoice_id is None
    )
    if (
        subscription.billing_held_at
        or subscription.status == "canceled"
        or (subscription.status == "incomplete" and not is_starting)
    ):
        return []
    apply_expirations(aggregate)
    aggregate.create_due_invoices(
        "start" if is_starting else "renewal",
        requires_payment=is_starting,
        review_until=None if is_starting else review.review_deadline(aggregate.now),
    )
    if is_starting and not Invoice.list_open_for_subscription(subscription.id):
        subscription.status = "active"
    payments = [] if aggregate.timeline.ended_on else due_payments.create_due_payments(aggregate)
    notices.enqueue_due_reminders(aggregate)
    aggregate.is_due_work_done = True
    aggregate.save_projection()
    return payments


def catch_up_billing(aggregate: SubscriptionAggregate) -> list[Invoice]:
    """Bill what is already due before a change is made, and finalize drafts that are not held.

    Otherwise it would share an invoice with the change, and be voided with it. Returns the finalized and new invoices.
    Raises PaymentInProgress while the payment for another change is in flight.

    Locks the household, which the change may have to look at: after the numbers of invoices it would be too late.
    """
    households.lock_household(aggregate)
    voiding.revert_unpaid_changes(aggregate)
    if aggregate.subscription.billing_held_at or aggregate.subscription.status in ("canceled", "incomplete"):
        return []
    apply_expirations(aggregate)
    return [*review.finalize_drafts(aggregate), *aggregate.create_due_invoices("renewal")]


def apply_expirations(aggregate: SubscriptionAggregate) -> None:
    """Apply everything that expires by today: pauses, scheduled ends, unpaid trials, dunning, and add-ons."""
    subscription = aggregate.subscription
    if aggregate.timeline.paused_on and subscription.resumes_at and subscription.resumes_at <= aggregate.now:
        aggregate.record_event(fact.Resumed, on=civil_day(subscription.resumes_at, subscription.time_zone))
    if aggregate.timeline.ends_on and aggregate.timeline.ends_on <= aggregate.today:
        scheduled = aggregate.timeline.end_scheduled
        is_paused = aggregate.timeline.paused_on is not None  # credits the paid days that the pause left unused
        end_subscription(
            aggregate, aggregate.timeline.ends_on, credit=is_paused or bool(scheduled and scheduled.credit)
        )
    elif is_trial_ending_unpaid(aggregate):
        end_unpaid_trial(aggregate, current_settings().trial_without_card)
    elif (
        subscription.past_due_since
        and aggregate.dunning_schedule.stage(subscription.past_due_since, aggregate.today) == "over"
    ):
        close_dunning_case(aggregate, subscription.past_due_since)
    if not aggregate.timeline.ended_on:
        addon_ends.remove_ended_addons(aggregate)
        if current_settings().trial_without_card != "invoice":
            addon_ends.remove_unpaid_addon_trials(aggregate)


def close_dunning_case(aggregate: SubscriptionAggregate, since: date) -> None:
    """Close the dunning case of the subscription's account: nothing more is collected, and the rest is written off.

    The subscription ends as of the day on which its access did, and the credit of its days pays what is owed first; the
    credit of days that a previous owner's debt stands for is not given. One-off charges alone end no subscription.
    """
    overdue = list_overdue_invoices(aggregate.subscription)
    if any(invoice.subscription_id for invoice in overdue):
        suspended_from = aggregate.subscription.suspended_since or aggregate.dunning_schedule.suspends_on(since)
        effective = max(suspended_from, aggregate.subscription.started_on)
        is_own_debt = all(invoice.account_id == aggregate.account.id for invoice in overdue)
        end_subscription(aggregate, effective, credit=is_own_debt, reason="payment_failed")
        aggregate.create_due_invoices("cancellation")
    due_payments.write_off_debts(aggregate.account.id, aggregate.now)
    for debtor_id in {invoice.account_id for invoice in overdue} - {aggregate.account.id}:
        key = f"collect {debtor_id} after {aggregate.subscription.id} {aggregate.now.isoformat()}"
        jobs.enqueue_job(debts.COLLECT_JOB, {"account_id": debtor_id}, aggregate.now, key)


def is_trial_ending_unpaid(aggregate: SubscriptionAggregate) -> bool:
    """Return whether a trial is over, its first charge is due and not free, and there is no payment method."""
    timeline = aggregate.timeline
    unbooked_charges = [line for line in lines_due(aggregate.facts, aggregate.today, timeline) if line.kind == "charge"]
    if not timeline.trial_end or len(unbooked_charges) < len(
        [line for line in timeline.lines if line.kind == "charge"]
    ):
        return False
    method = method_selection.select_account_method(aggregate.account.id, aggregate.subscription.payment_method_id)
    return bool(unbooked_charges and aggregate.compute_invoice(unbooked_charges).totals.amount_due_minor and not method)


def end_unpaid_trial(aggregate: SubscriptionAggregate, policy: str) -> None:
    """End a trial without a payment method: `cancel` the subscription, `pause` it as of the trial's last day, or do
    nothing (`invoice`), so that the charge is invoiced and owed. `refuse`: the card was removed meanwhile; cancel."""
    if policy in ("cancel", "refuse"):
        end_subscription(aggregate, aggregate.timeline.trial_end, credit=False, reason="trial_without_payment_method")
    elif policy == "pause":
        assert aggregate.timeline.trial_end is not None, "a trial has an end"
        trial_end = aggregate.timeline.trial_end
        aggregate.record_event(fact.Paused, trial_end, on=add_days(trial_end, -1))
        aggregate.subscription.paused_at = aggregate.now


def end_subscription(
    aggregate: SubscriptionAggregate,
    effective: date | None,
    credit: bool,
    reason: str | None = None,
    actor: str | None = None,
) -> None:
    """End the subscription as of the day `effective`, and notify its owner.

    `credit`: credit unused paid days. Drafts are finalized first, so that they can be paid from that credit.
    """
    if credit:
        review.finalize_drafts(aggregate, include_held=True)
    aggregate.record_event(fact.Canceled, effective, credit, actor=actor)
    aggregate.subscription.canceled_at = aggregate.now
    aggregate.subscription.cancel_reason = reason or aggregate.subscription.cancel_reason
    notices.enqueue_ended_notice(aggregate, reason)
