"""subscription.due: everything that time alone brings about, at the moment it falls due."""

from datetime import datetime

from flask import current_app

from streamsvc.models.subscriptions import Invoice, Payment
from streamsvc.operations.billing.core import batches, charging, issuing, notices
from streamsvc.operations.billing.core.aggregate import DUE_JOB, SubscriptionAggregate, load_locked
from streamsvc.operations.billing.invoices import review
from streamsvc.rules.billing import facts as fact
from streamsvc.rules.billing.calendar import add_days, civil_day
from streamsvc.rules.refusals.billing import PaymentInProgress
from streamsvc.storage.database import db
from streamsvc.storage.unit_of_work import unit_of_work
from streamsvc.worker import jobs


@jobs.job_handler(DUE_JOB)
def handle_due_subscription(payload: dict, now: datetime) -> None:
    process_due_subscription(payload["subscription_id"], now)


@jobs.batch_job_handler(DUE_JOB)
def handle_due_subscriptions(payloads: list[dict], now: datetime) -> None:
    process_due_subscriptions([payload["subscription_id"] for payload in payloads], now)


def process_due_subscription(subscription_id: str, now: datetime) -> None:
    """Do all that is due for one subscription; doing it twice does it once. Commits."""
    payments = [payment.id for payment in apply_due_work(load_locked(subscription_id, now))]
    db.session.commit()
    for payment_id in payments:
        charging.send_payment(payment_id)


def process_due_subscriptions(subscription_ids: list[str], now: datetime) -> None:
    """The same for many in one unit of work; their payments are sent together."""
    payments, replayed = [], {}
    with unit_of_work():
        batches.lock_and_preload(subscription_ids)
        for subscription_id in subscription_ids:
            at = load_locked(subscription_id, now)
            payments += [payment.id for payment in apply_due_work(at)]
            replayed[subscription_id] = at.replayed_history
    db.session.commit()
    batches.send_payments(payments, replayed)


def apply_due_work(aggregate: SubscriptionAggregate) -> list[Payment]:
    """Book what is due; the payments that are to be sent once that is committed."""
    row = aggregate.subscription
    try:
        charging.revert_unpaid_changes(aggregate)
    except PaymentInProgress:  # its outcome is known within a minute; what is due comes after
        later = aggregate.now + charging.RECONCILE_AFTER
        jobs.enqueue_job(DUE_JOB, {"subscription_id": row.id}, later, f"{row.id}@{later.isoformat()}")
        return []
    starts = (
        row.status == "incomplete" and aggregate.timeline.started <= aggregate.today and row.latest_invoice_id is None
    )
    if row.parked_at or row.status == "canceled" or (row.status == "incomplete" and not starts):
        return []
    apply_expirations(aggregate)
    aggregate.create_due_invoices(
        "start" if starts else "renewal",
        requires_payment=starts,
        review_until=None if starts else review.review_deadline(aggregate.now),
    )
    if starts and not issuing.list_open_invoices(aggregate.account.id):
        row.status = "active"
    payments = [] if aggregate.timeline.ended_on else charging.create_due_payments(aggregate)
    notices.enqueue_due_reminder(aggregate)
    aggregate.is_due_work_done = True
    aggregate.save_projection()
    return payments


def catch_up_billing(aggregate: SubscriptionAggregate) -> list[Invoice]:
    """Bill what fell due before somebody asks for a change and is not done yet: else it would stand on one invoice
    with the change, and be void with it. So is what was a draft until now, unless it is held. Raises
    PaymentInProgress while the money of another change is on its way."""
    charging.revert_unpaid_changes(aggregate)
    if aggregate.subscription.parked_at or aggregate.subscription.status in ("canceled", "incomplete"):
        return []
    apply_expirations(aggregate)
    return [*review.finalize_drafts(aggregate), *aggregate.create_due_invoices("renewal")]


def apply_expirations(aggregate: SubscriptionAggregate) -> None:
    """Pauses, subscriptions, trials and patience that end today."""
    row = aggregate.subscription
    if aggregate.timeline.paused_on and row.resumes_at and row.resumes_at <= aggregate.now:
        aggregate.record_event(fact.Resumed, on=civil_day(row.resumes_at, row.time_zone))
        row.paused_at = row.resumes_at = None
    if aggregate.timeline.ends_on and aggregate.timeline.ends_on <= aggregate.today:
        scheduled = aggregate.timeline.end_scheduled
        frozen = aggregate.timeline.paused_on is not None  # days that were paid and could not be used
        end_subscription(aggregate, aggregate.timeline.ends_on, credit=frozen or bool(scheduled and scheduled.credit))
    elif is_trial_ending_unpaid(aggregate):
        end_unpaid_trial(aggregate, current_app.extensions["settings"].trial_without_card)
    elif row.past_due_since and aggregate.dunning_schedule.step(row.past_due_since, aggregate.today) == "over":
        end_subscription(
            aggregate, aggregate.dunning_schedule.suspends_on(row.past_due_since), credit=True, reason="payment_failed"
        )
        aggregate.create_due_invoices("cancellation")
        charging.write_off_ended_subscription(aggregate)


def is_trial_ending_unpaid(aggregate: SubscriptionAggregate) -> bool:
    """Whether a trial comes to where it would have to be paid, and there is no card."""
    timeline = aggregate.timeline
    first = [line for line in timeline.lines if line.kind == "charge" and line.identity not in aggregate.facts.booked]
    if not timeline.trial_end or len(first) < len([line for line in timeline.lines if line.kind == "charge"]):
        return False
    card = charging.select_account_method(aggregate.account.id, aggregate.subscription.payment_method_id)
    return bool(first and aggregate.compute_invoice(first).totals.amount_due_minor and not card)


def end_unpaid_trial(aggregate: SubscriptionAggregate, policy: str) -> None:
    """Nobody can be charged for what follows: end it, rest on the trial's last day, or let it be owed (`invoice`)."""
    if policy == "cancel":
        end_subscription(aggregate, aggregate.timeline.trial_end, credit=False, reason="trial_without_payment_method")
    elif policy == "pause":
        aggregate.record_event(fact.Paused, on=add_days(aggregate.timeline.trial_end, -1))
        aggregate.subscription.paused_at = aggregate.now


def end_subscription(
    aggregate: SubscriptionAggregate, effective, credit: bool, reason: str | None = None, actor: str | None = None
) -> None:
    """The subscription is over from `effective` on."""
    if credit:  # what is given back of a draft pays that draft
        review.finalize_drafts(aggregate, include_held=True)
    aggregate.record_event(fact.Canceled, effective, credit, actor=actor)
    aggregate.subscription.canceled_at = aggregate.now
    aggregate.subscription.cancel_reason = reason or aggregate.subscription.cancel_reason
    notices.enqueue_ended_notice(aggregate, reason)
