"""Collection: takes the steps of an account's dunning case, and sends its notices.

The job of a live subscription collects everything that its account owes. Without one that can, the account's own job
does.
"""

from datetime import date, datetime

from streamsvc.models import Account
from streamsvc.models.subscriptions import Invoice, Payment, Subscription
from streamsvc.operations.billing.core import charging, debts, due_payments, notices
from streamsvc.operations.billing.core.aggregate import collects_debts
from streamsvc.operations.billing.subscriptions import renewal
from streamsvc.rules.billing.calendar import civil_day
from streamsvc.storage.database import db, lock_row
from streamsvc.worker import jobs


@jobs.job_handler(debts.COLLECT_JOB)
def collect_debts(payload: dict, now: datetime) -> None:
    """Take the step of an account's debts that is due. Commits."""
    account = lock_row(Account, payload["account_id"])
    if account is None:  # erased
        return
    for invoice in debts.list_collectable(Invoice.list_open(account.id)):
        if invoice.attempts and not invoice.first_failed_on:  # owed since before there were dunning cases
            debts.start_dunning(invoice, now)
    subscription = Subscription.find_live(account.id)
    if subscription and collects_debts(subscription):
        renewal.process_due_subscription(subscription.id, now)
        return
    payment_ids = [payment.id for payment in apply_due_step(account, now)]
    db.session.commit()
    for payment_id in payment_ids:
        charging.send_payment(payment_id)


def apply_due_step(account: Account, now: datetime) -> list[Payment]:
    """Write the account's debts off if their schedule is over, or collect those that are due.

    Returns the payments to be sent after the commit.
    """
    since = debts.find_overdue_since(account.id)
    today = civil_day(now, account.time_zone)
    if debts.current_dunning_schedule().stage(since, today) == "over":
        due_payments.write_off_debts(account.id, now)
    due_payments.write_off_small_debts(account, now)
    payments = due_payments.create_debt_payments(Invoice.list_open(account.id), now)
    db.session.flush()
    debts.enqueue_collection(account, now)
    return payments


@jobs.job_handler(debts.NOTICE_JOB)
def send_dunning_notice(payload: dict, now: datetime) -> None:
    """Notify an account of a step of its dunning case, unless the case is closed by now. Raises Retry.

    The notice that access has ended is sent when it has, in the time zone of the subscription.
    """
    account = db.session.get(Account, payload["account_id"])
    invoices = debts.list_overdue(Invoice.list_open(payload["account_id"]))
    since = debts.find_overdue_since(payload["account_id"])
    if account is None or account.status == "deleted" or since != date.fromisoformat(payload["since"]):
        return
    subscription = Subscription.find_live(account.id)
    schedule = debts.current_dunning_schedule()
    if payload["step"] == debts.FIRST_NOTICE:
        notices.enqueue_payment_failed_notice(account, invoices, subscription, schedule.suspends_on(since), now)
        return
    if subscription and subscription.access_until and subscription.access_until > now:
        raise jobs.Retry(subscription.access_until)
    notices.enqueue_payment_overdue_notice(account, invoices, subscription, schedule.cancels_on(since), now)
