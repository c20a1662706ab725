"""subscription.due: everything that time alone brings about, at the moment it falls due."""

from datetime import datetime

from flask import current_app

from streamsvc.models.subscriptions import Invoice, Payment
from streamsvc.operations.billing.core import batches, charging, issuing, notices
from streamsvc.operations.billing.core.aggregate import JOB, Standing, stand
from streamsvc.operations.billing.invoices import review
from streamsvc.rules.billing import facts as fact
from streamsvc.rules.billing.calendar import add_days, civil_day
from streamsvc.rules.refusals.billing import PaymentInProgress
from streamsvc.storage.database import db
from streamsvc.storage.unit_of_work import together
from streamsvc.worker import jobs


@jobs.handler(JOB)
def fall_due(payload: dict, now: datetime) -> None:
    attend(payload["subscription_id"], now)


@jobs.set_handler(JOB)
def fall_due_together(payloads: list[dict], now: datetime) -> None:
    attend_all([payload["subscription_id"] for payload in payloads], now)


def attend(subscription_id: str, now: datetime) -> None:
    """Do all that is due for one subscription; doing it twice does it once. Commits."""
    payments = [payment.id for payment in do_due(stand(subscription_id, now))]
    db.session.commit()
    for payment_id in payments:
        charging.send(payment_id)


def attend_all(subscription_ids: list[str], now: datetime) -> None:
    """The same for many in one unit of work; their payments are sent together."""
    payments, replayed = [], {}
    with together():
        batches.hold(subscription_ids)
        for subscription_id in subscription_ids:
            at = stand(subscription_id, now)
            payments += [payment.id for payment in do_due(at)]
            replayed[subscription_id] = at.replayed
    db.session.commit()
    batches.send_all(payments, replayed)


def do_due(at: Standing) -> list[Payment]:
    """Book what is due; the payments that are to be sent once that is committed."""
    row = at.subscription
    try:
        charging.clear_waiting(at)
    except PaymentInProgress:  # its outcome is known within a minute; what is due comes after
        later = at.now + charging.RECONCILE_AFTER
        jobs.enqueue(JOB, {"subscription_id": row.id}, later, f"{row.id}@{later.isoformat()}")
        return []
    starts = row.status == "incomplete" and at.timeline.started <= at.today and row.latest_invoice_id is None
    if row.parked_at or row.status == "canceled" or (row.status == "incomplete" and not starts):
        return []
    pass_time(at)
    at.bill("start" if starts else "renewal", gated=starts, review_until=None if starts else review.until(at.now))
    if starts and not issuing.open_invoices(at.account.id):
        row.status = "active"
    payments = [] if at.timeline.ended_on else charging.charge_open(at)
    notices.remind(at)
    at.attended = True
    at.show()
    return payments


def catch_up(at: Standing) -> list[Invoice]:
    """Bill what fell due before somebody asks for a change and is not done yet: else it would stand on one invoice
    with the change, and be void with it. So is what was a draft until now, unless it is held. Raises
    PaymentInProgress while the money of another change is on its way."""
    charging.clear_waiting(at)
    if at.subscription.parked_at or at.subscription.status in ("canceled", "incomplete"):
        return []
    pass_time(at)
    return [*review.finalize_all(at), *at.bill("renewal")]


def pass_time(at: Standing) -> None:
    """Pauses, subscriptions, trials and patience that end today."""
    row = at.subscription
    if at.timeline.paused_on and row.resumes_at and row.resumes_at <= at.now:
        at.happen(fact.Resumed, on=civil_day(row.resumes_at, row.time_zone))
        row.paused_at = row.resumes_at = None
    if at.timeline.ends_on and at.timeline.ends_on <= at.today:
        scheduled = at.timeline.end_scheduled
        frozen = at.timeline.paused_on is not None  # days that were paid and could not be used
        end(at, at.timeline.ends_on, credit=frozen or bool(scheduled and scheduled.credit))
    elif trial_ends_unpaid(at):
        end_trial(at, current_app.extensions["settings"].trial_without_card)
    elif row.past_due_since and at.ladder.step(row.past_due_since, at.today) == "over":
        end(at, at.ladder.suspends_on(row.past_due_since), credit=True, reason="payment_failed")
        at.bill("cancellation")
        charging.write_off(at)


def trial_ends_unpaid(at: Standing) -> bool:
    """Whether a trial comes to where it would have to be paid, and there is no card."""
    timeline = at.timeline
    first = [line for line in timeline.lines if line.kind == "charge" and line.identity not in at.facts.booked]
    if not timeline.trial_end or len(first) < len([line for line in timeline.lines if line.kind == "charge"]):
        return False
    card = charging.method_of(at.account.id, at.subscription.payment_method_id)
    return bool(first and at.draft(first).totals.amount_due_minor and not card)


def end_trial(at: Standing, how: str) -> None:
    """Nobody can be charged for what follows: end it, rest on the trial's last day, or let it be owed (`invoice`)."""
    if how == "cancel":
        end(at, at.timeline.trial_end, credit=False, reason="trial_without_payment_method")
    elif how == "pause":
        at.happen(fact.Paused, on=add_days(at.timeline.trial_end, -1))
        at.subscription.paused_at = at.now


def end(at: Standing, effective, credit: bool, reason: str | None = None, actor: str | None = None) -> None:
    """The subscription is over from `effective` on."""
    if credit:  # what is given back of a draft pays that draft
        review.finalize_all(at, held=True)
    at.happen(fact.Canceled, effective, credit, actor=actor)
    at.subscription.canceled_at = at.now
    at.subscription.cancel_reason = reason or at.subscription.cancel_reason
    notices.ended(at, reason)
