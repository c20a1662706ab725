"""Money is moved in three steps: recorded, sent outside any transaction under the record's id, settled.

Whatever dies in between, the record stands: reconcile() asks the provider what became of it, and sends it again under
the same key only where it never arrived.
"""

from datetime import UTC, date, datetime, time, timedelta

import sqlalchemy as sa
from flask import current_app

from streamsvc import clock
from streamsvc.gateways.payments import provider
from streamsvc.gateways.payments.interface import DECLINED, REQUIRES_ACTION, SUCCEEDED, UNKNOWN, Outcome
from streamsvc.gateways.payments.sandbox import SandboxProvider
from streamsvc.models import Account
from streamsvc.models.subscriptions import (
    Coupon,
    Discount,
    Invoice,
    InvoiceLine,
    Payment,
    PaymentMethod,
    Refund,
    Subscription,
)
from streamsvc.operations.billing.core import issuing, ledger, notices, referrals
from streamsvc.operations.billing.core.aggregate import SubscriptionAggregate, dunning_schedule_of, load_locked
from streamsvc.operations.outbox.webhooks import publish_event
from streamsvc.rules.billing import facts as fact
from streamsvc.rules.billing.paid import RENEWAL, begins_a_period
from streamsvc.rules.refusals.billing import PaymentInProgress
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.storage import unit_of_work
from streamsvc.storage.database import db, lock_row, new_id
from streamsvc.worker import jobs

RECONCILE_JOB = "payment.reconcile"
EXPIRE_JOB = "payment.expire"
COLLECT_JOB = "invoice.collect"
RECONCILE_AFTER = timedelta(seconds=30)
SEARCH_AFTER = timedelta(minutes=10)
"""What is in doubt for longer is looked for in the provider's records before it is sent again."""
AUTHENTICATION_TIMEOUT = timedelta(hours=23)
"""How long a payer may take to confirm; then the payment counts as declined."""
PAYMENT_METHOD_REQUIRED = "payment_method_required"


def select_invoice_method(invoice: Invoice) -> PaymentMethod | None:
    """What the invoice is charged to: the subscription's own method where it has one, else the account's default."""
    own = invoice.subscription_id and db.session.get(Subscription, invoice.subscription_id).payment_method_id
    return select_account_method(invoice.account_id, own)


def select_account_method(account_id: str, preferred_id: str | None) -> PaymentMethod | None:
    """The method of this id, if it is kept, else the account's default."""
    kept = unit_of_work.get_or_load(
        ("methods", account_id), lambda: db.session.scalars(PaymentMethod.kept(account_id)).all()
    )
    by_preference = sorted(kept, key=lambda one: (one.id == preferred_id, one.is_default), reverse=True)
    best = by_preference[0] if by_preference else None
    return best if best and (best.id == preferred_id or best.is_default) else None


def create_payment(
    invoice: Invoice, method: PaymentMethod, now: datetime, on_session: bool, written_off_minor: int = 0
) -> Payment:
    """Write down that the invoice's balance, or what was given up of it, is about to be charged; somebody looks after
    it if we do not."""
    payment = Payment(
        id=new_id("pay"),
        account_id=invoice.account_id,
        invoice_id=invoice.id,
        payment_method_id=method.id,
        status="pending",
        on_session=on_session,
        currency=invoice.currency,
        amount_minor=invoice.balance_minor + written_off_minor,
        provider=method.provider,
        created_at=now,
    )
    invoice.payments.append(payment)
    unit_of_work.add_object(payment)
    unit_of_work.flush_session()
    jobs.enqueue_job(RECONCILE_JOB, {"payment_id": payment.id}, now + RECONCILE_AFTER, f"reconcile {payment.id}")
    return payment


def send_payment(payment_id: str) -> Payment:
    """Send a recorded payment and settle it. Not to be called inside a unit of work."""
    payment = db.session.get(Payment, payment_id)
    method = payment.method.reference
    request = (payment.id, method, payment.amount_minor, payment.currency, payment.on_session)
    db.session.commit()
    outcome = provider().charge(*request)
    if outcome.status == UNKNOWN:  # perhaps only the reply was lost
        outcome = provider().find(payment_id) or outcome
    return complete_payment(payment_id, outcome, clock.now())


def resume_payment(payment_id: str) -> Payment:
    """The payment, sent if nobody knows yet what became of it: under its own key, so that it is taken once."""
    payment = db.session.get(Payment, payment_id)
    return send_payment(payment_id) if payment.status in ("pending", "unknown") else payment


def complete_payment(payment_id: str, outcome: Outcome, now: datetime) -> Payment:
    """Book what came of a payment; a second time changes nothing. Commits."""
    owner = db.session.scalar(sa.select(Payment.account_id).where(Payment.id == payment_id))
    lock_row(Account, owner)
    payment = db.session.get(Payment, payment_id, populate_existing=True)
    invoice = db.session.get(Invoice, payment.invoice_id, populate_existing=True)
    book_outcome(payment, invoice, outcome, now)
    db.session.commit()
    return payment


def book_outcome(payment: Payment, invoice: Invoice, outcome: Outcome, now: datetime) -> None:
    """What came of a payment changes it, its invoice, and its subscription; under the account's lock."""
    at = load_locked(invoice.subscription_id, now) if invoice.subscription_id else None
    if payment.is_in_flight:
        payment.provider_reference = outcome.reference or payment.provider_reference
        _apply_outcome(payment, invoice, outcome, now, at)
    elif payment.status == "failed" and outcome.status == SUCCEEDED:
        record_late_success(payment, invoice, outcome, now)
    if at:
        at.save_projection()


def _apply_outcome(payment, invoice, outcome, now, aggregate):
    if outcome.status == UNKNOWN:
        payment.status = "unknown"
        return
    payment.status = {SUCCEEDED: "succeeded", DECLINED: "failed", REQUIRES_ACTION: "requires_action"}[outcome.status]
    payment.decline_code, payment.next_action = outcome.decline_code, outcome.next_action
    if outcome.status == REQUIRES_ACTION:
        jobs.enqueue_job(EXPIRE_JOB, {"payment_id": payment.id}, now + AUTHENTICATION_TIMEOUT, f"expire {payment.id}")
        return
    payment.settled_at = now
    words = {"payment_id": payment.id, "amount_minor": payment.amount_minor, "decline_code": payment.decline_code}
    publish_event(f"payment.{payment.status}", payment.account_id, now, **issuing.invoice_payload(invoice), **words)
    jobs.cancel_job(f"reconcile {payment.id}")
    if outcome.status == SUCCEEDED:
        record_success(payment, invoice, now, aggregate)
    else:
        record_decline(invoice, outcome.decline_code, now, aggregate)


def record_success(payment: Payment, invoice: Invoice, now: datetime, aggregate: SubscriptionAggregate | None) -> None:
    """The money is there."""
    ledger.post_journal(
        "payment", invoice, now, payment.id, cash=payment.amount_minor, receivable=-payment.amount_minor
    )
    invoice.amount_paid_minor += payment.amount_minor
    invoice.balance_minor -= payment.amount_minor
    issuing.credit_overpayment(invoice, now)  # where a credit note came while the money was on its way
    issuing.issue_invoice(invoice, now)
    issuing.mark_paid_if_balance_is_zero(invoice)
    if invoice.number is None:  # the receipt tells it
        unit_of_work.flush_batch()
    notices.enqueue_receipt(payment, invoice, aggregate)
    referrals.enqueue_reward_if_referred(payment.account_id, now)
    if aggregate and aggregate.subscription.status == "incomplete":
        aggregate.subscription.status = "active"


def record_late_success(payment: Payment, invoice: Invoice, outcome: Outcome, now: datetime) -> None:
    """We had given up on it, and the money came all the same: it pays the invoice if that is still open, else it is
    the customer's credit."""
    payment.status, payment.decline_code, payment.settled_at = "succeeded", None, now
    payment.provider_reference = outcome.reference or payment.provider_reference
    amount = payment.amount_minor
    ledger.post_journal("payment", invoice, now, payment.id, cash=amount, customer_credit=-amount)
    issuing.pay_open_invoices_from_credit(invoice.account_id, invoice.currency, now)


def record_decline(
    invoice: Invoice, decline_code: str | None, now: datetime, aggregate: SubscriptionAggregate | None
) -> None:
    """It was declined: a first invoice goes, with its subscription; a change is undone; a renewal climbs the ladder."""
    if invoice.status == "uncollectible":  # its payer tried by hand; nobody else does
        return
    if aggregate and aggregate.subscription.status == "incomplete":
        cancel_unpaid_start(aggregate, "payment_failed")
        return
    if aggregate and invoice.issued_at is None:
        revert_change(invoice, aggregate)
        return
    if aggregate and aggregate.timeline.ended_on:
        write_off_ended_subscription(aggregate)
        return
    today = aggregate.today if aggregate else now.date()
    invoice.attempts += 1
    invoice.first_failed_on = invoice.first_failed_on or today
    invoice.next_attempt_on = compute_next_attempt(invoice, today, decline_code)
    if aggregate is None and (again := invoice.next_attempt_on):  # no subscription whose job would come by
        asked = {"invoice_id": invoice.id, "account_id": invoice.account_id}
        jobs.enqueue_job(COLLECT_JOB, asked, datetime.combine(again, time.min, UTC), f"collect {invoice.id} {again}")
    notices.enqueue_payment_failed_notice(invoice, aggregate)


def compute_next_attempt(invoice: Invoice, today: date, decline_code: str | None) -> date | None:
    ladder = dunning_schedule_of(current_app.extensions["settings"].dunning)
    return ladder.next_try(invoice.first_failed_on, today, decline_code)


def cancel_unpaid_start(aggregate: SubscriptionAggregate, reason: str) -> None:
    """A subscription that was never paid for ends: its invoices are void, coupon and account credit are given back."""
    now = aggregate.now
    for invoice in issuing.list_open_invoices(aggregate.account.id):
        if invoice.subscription_id == aggregate.subscription.id:
            book_void(invoice, now)
    for discount in aggregate.list_discounts():
        Coupon.give_back(discount.coupon_id)
        discount.ended_at = now
    aggregate.subscription.status = "canceled"
    aggregate.subscription.cancel_reason = reason
    aggregate.subscription.canceled_at = now


def list_unpaid_changes(aggregate: SubscriptionAggregate) -> list[Invoice]:
    """Changes that are not paid for yet. Raises PaymentInProgress where the money may be on its way: whether that
    change happened has to be known before anything else does."""
    if aggregate.subscription.status == "incomplete":
        return []
    mine = [
        one
        for one in issuing.list_open_invoices(aggregate.account.id)
        if one.subscription_id == aggregate.subscription.id
    ]
    found = [invoice for invoice in mine if invoice.issued_at is None]
    if any(one.is_in_flight and one.status != "requires_action" for invoice in found for one in invoice.payments):
        raise PaymentInProgress
    return found


def revert_unpaid_changes(aggregate: SubscriptionAggregate) -> None:
    """A change that still waits for its payer gives way to what comes next. Raises PaymentInProgress."""
    for invoice in list_unpaid_changes(aggregate):
        for payment in [one for one in invoice.payments if one.is_in_flight]:
            payment.status, payment.decline_code, payment.settled_at = "failed", "abandoned", aggregate.now
        revert_change(invoice, aggregate)


def write_off_ended_subscription(aggregate: SubscriptionAggregate) -> None:
    """What is still owed on a subscription that ended is given up; what is being paid just now is waited for, and so is
    whoever takes it out of where it is parked: what it gives back comes first."""
    if aggregate.subscription.parked_at:
        return
    issuing.pay_open_invoices_from_credit(aggregate.account.id, aggregate.subscription.currency, aggregate.now)
    for invoice in issuing.list_open_invoices(aggregate.account.id):
        if invoice.subscription_id == aggregate.subscription.id and not any(
            one.is_in_flight for one in invoice.payments
        ):
            issuing.mark_uncollectible(invoice, aggregate.now)


def revert_change(invoice: Invoice, aggregate: SubscriptionAggregate) -> None:
    """A change that was not paid for did not happen: its invoice is void, its event counts no more."""
    book_void(invoice, aggregate.now)
    refs = {line.cause for line in invoice.lines if line.cause} - {RENEWAL}
    for ref in sorted(refs):
        aggregate.record_event(fact.Reverted, ref)


def book_void(invoice: Invoice, now: datetime) -> None:
    """Take back what the invoice asked for; what account credit had paid of it goes back to the account."""
    on_total = invoice.total_minor
    ledger.post_journal(
        "void", invoice, now, receivable=-on_total, revenue=on_total - invoice.tax_minor, tax=invoice.tax_minor
    )
    if invoice.credit_applied_minor:
        part = invoice.credit_applied_minor
        ledger.post_journal("credit_returned", invoice, now, receivable=part, customer_credit=-part)
    invoice.status, invoice.balance_minor, invoice.next_attempt_on = "void", 0, None
    for line in invoice.lines:
        if line.kind == "discount" and line.coupon_id:
            restore_discount(invoice, line)


def restore_discount(invoice: Invoice, line: InvoiceLine) -> None:
    """A coupon that was taken off a void invoice was not used by it."""
    mine = sa.and_(Discount.subscription_id == invoice.subscription_id, Discount.coupon_id == line.coupon_id)
    discount = db.session.scalar(sa.select(Discount).where(mine))
    renews = begins_a_period((one.kind, one.item, one.cause, one.period_end) for one in invoice.lines)
    discount.used_minor += line.amount_minor
    discount.periods_used -= bool(renews or discount.coupon.duration == "once")
    discount.ended_at = None


@jobs.job_handler(RECONCILE_JOB)
def reconcile_payment(payload: dict, now: datetime) -> None:
    """Find out what became of a payment whose outcome we do not know, and settle it."""
    payment = db.session.get(Payment, payload["payment_id"])
    if not payment.is_in_flight or payment.status == "requires_action":
        return
    found = find_outcome(payment, now)
    payment = complete_payment(payload["payment_id"], found, now) if found else send_payment(payload["payment_id"])
    if payment.status == "unknown":
        raise jobs.Retry(now + RECONCILE_AFTER)


def find_outcome(record: Payment | Refund, now: datetime, charge_reference: str | None = None) -> Outcome | None:
    """What the provider knows of a payment or refund in doubt; None: send it again, under its own key."""
    asked, old = record.id, record.created_at < now - SEARCH_AFTER
    db.session.commit()
    return provider().search(asked, charge_reference) if old else provider().find(asked)


@jobs.job_handler(EXPIRE_JOB)
def expire_payment(payload: dict, now: datetime) -> None:
    """Nobody confirmed: the payment is declined, unless the bank meanwhile tells otherwise."""
    payment = db.session.get(Payment, payload["payment_id"])
    if payment.status != "requires_action":
        return
    db.session.commit()
    found = provider().find(payload["payment_id"])
    if found is None or found.status == REQUIRES_ACTION:
        found = Outcome(DECLINED, decline_code="authentication_abandoned")
    complete_payment(payload["payment_id"], found, now)


def create_due_payments(
    aggregate: SubscriptionAggregate, on_session: bool = False, method: PaymentMethod | None = None
) -> list[Payment]:
    """Record a payment for each open invoice of the subscription whose time has come; the caller commits and sends.

    With a `method` in hand, each of them is charged to it, whether its next try is due or not. None while it is parked.
    """
    payments = []
    if aggregate.subscription.parked_at:
        return payments
    mine = [
        one
        for one in issuing.list_open_invoices(aggregate.account.id)
        if one.subscription_id == aggregate.subscription.id
    ]
    if any(one.attempts for one in mine):  # credit that came while the last try was under way
        issuing.pay_open_invoices_from_credit(aggregate.account.id, aggregate.subscription.currency, aggregate.now)
    for invoice in mine:
        if invoice.status != "open" or any(one.is_in_flight for one in invoice.payments):
            continue
        if (
            not method
            and invoice.attempts
            and not (invoice.next_attempt_on and invoice.next_attempt_on <= aggregate.today)
        ):
            continue
        charged_to = method or select_invoice_method(invoice)
        if charged_to:
            payments.append(create_payment(invoice, charged_to, aggregate.now, on_session))
        else:
            record_decline(invoice, PAYMENT_METHOD_REQUIRED, aggregate.now, aggregate)
    return payments


def complete_sandbox_authentication(payment_id: str, approve: bool, now: datetime) -> Payment:
    """The sandbox's bank asked its customer, and tells us what they said. Raises NotFound."""
    payment = db.session.get(Payment, payment_id)
    if payment is None or payment.status != "requires_action":
        raise NotFound
    db.session.commit()
    return complete_payment(payment_id, SandboxProvider().authenticate(payment_id, approve), now)
