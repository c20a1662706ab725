"""Charging: a payment is recorded, sent to the provider outside any transaction, and completed.

The record's id is the idempotency key at the provider. If the process dies in between, `reconcile_payment` looks the
payment up at the provider, and sends it again under the same key only if it never arrived.
"""

from datetime import UTC, date, datetime, time, timedelta

import sqlalchemy as sa

from streamsvc import clock
from streamsvc.gateways.payments import current_provider
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
from streamsvc.rules.billing.paid import RENEWAL, starts_new_period
from streamsvc.rules.refusals.billing import PaymentInProgress
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.settings import current_settings
from streamsvc.storage.database import batching_session, db, lock_row, new_id
from streamsvc.worker import jobs

RECONCILE_JOB = "payment.reconcile"
EXPIRE_JOB = "payment.expire"
COLLECT_JOB = "invoice.collect"
RECONCILE_AFTER = timedelta(seconds=30)
SEARCH_AFTER = timedelta(minutes=10)
"""A payment of unknown outcome that is older than this is searched for in the provider's records before a resend."""
AUTHENTICATION_TIMEOUT = timedelta(hours=23)
"""How long a payer has to authenticate a payment before it counts as declined."""
PAYMENT_METHOD_REQUIRED = "payment_method_required"


def select_invoice_method(invoice: Invoice) -> PaymentMethod | None:
    """Return the payment method to charge an invoice to: the subscription's own, else the account's default."""
    preferred_id = None
    if invoice.subscription_id:
        preferred_id = db.session.get_one(Subscription, invoice.subscription_id).payment_method_id
    return select_account_method(invoice.account_id, preferred_id)


def select_account_method(account_id: str, preferred_id: str | None) -> PaymentMethod | None:
    """Return the method with this id if it has not been removed, else the account's default; None if there is none."""
    methods = PaymentMethod.list_active(account_id)
    by_preference = sorted(methods, key=lambda method: (method.id == preferred_id, method.is_default), reverse=True)
    best = by_preference[0] if by_preference else None
    return best if best and (best.id == preferred_id or best.is_default) else None


def create_payment(
    invoice: Invoice, method: PaymentMethod, now: datetime, on_session: bool, written_off_minor: int = 0
) -> Payment:
    """Record a payment about to be sent, for the invoice's balance plus `written_off_minor`.

    Enqueues its reconciliation, which takes over if this process does not complete it.
    """
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
    db.session.flush()
    jobs.enqueue_job(RECONCILE_JOB, {"payment_id": payment.id}, now + RECONCILE_AFTER, f"reconcile {payment.id}")
    return payment


def send_payment(payment_id: str) -> Payment:
    """Send a recorded payment to the provider and complete it. Commits. Must not be called inside a transaction."""
    payment = db.session.get_one(Payment, payment_id)
    method_reference = payment.method.reference
    request = (payment.id, method_reference, payment.amount_minor, payment.currency, payment.on_session)
    db.session.commit()
    outcome = current_provider().charge(*request)
    if outcome.status == UNKNOWN:  # the response may have been lost
        outcome = current_provider().find_outcome(payment_id) or outcome
    return complete_payment(payment_id, outcome, clock.now())


def resume_payment(payment_id: str) -> Payment:
    """Return the payment, sending it if its outcome is unknown. Its idempotency key prevents a second charge."""
    payment = db.session.get_one(Payment, payment_id)
    return send_payment(payment_id) if payment.status in ("pending", "unknown") else payment


def complete_payment(payment_id: str, outcome: Outcome, now: datetime) -> Payment:
    """Book the outcome of a payment. Idempotent. Commits."""
    account_id = db.session.scalar(sa.select(Payment.account_id).where(Payment.id == payment_id))
    lock_row(Account, account_id)
    payment = db.session.get_one(Payment, payment_id, populate_existing=True)
    invoice = db.session.get_one(Invoice, payment.invoice_id, populate_existing=True)
    aggregate = load_locked(invoice.subscription_id, now) if invoice.subscription_id else None
    book_outcome(payment, invoice, outcome, now, aggregate)
    db.session.commit()
    return payment


def book_outcome(
    payment: Payment, invoice: Invoice, outcome: Outcome, now: datetime, aggregate: SubscriptionAggregate | None
) -> None:
    """Apply an outcome to a payment, its invoice, and its subscription. The caller holds the account's lock.

    `aggregate`: the invoice's subscription; None for a one-off invoice.
    """
    if payment.is_in_flight:
        payment.provider_reference = outcome.reference or payment.provider_reference
        _apply_outcome(payment, invoice, outcome, now, aggregate)
    elif payment.status == "failed" and outcome.status == SUCCEEDED:
        record_late_success(payment, invoice, outcome, now)
    if aggregate:
        aggregate.save_projection()


def _apply_outcome(
    payment: Payment, invoice: Invoice, outcome: Outcome, now: datetime, aggregate: SubscriptionAggregate | None
) -> None:
    if outcome.status == UNKNOWN:
        payment.status = "unknown"
        return
    payment.status = {SUCCEEDED: "succeeded", DECLINED: "failed", REQUIRES_ACTION: "requires_action"}[outcome.status]
    payment.decline_code, payment.next_action = outcome.decline_code, outcome.next_action
    if outcome.status == REQUIRES_ACTION:
        jobs.enqueue_job(EXPIRE_JOB, {"payment_id": payment.id}, now + AUTHENTICATION_TIMEOUT, f"expire {payment.id}")
        return
    payment.settled_at = now
    details = {"payment_id": payment.id, "amount_minor": payment.amount_minor, "decline_code": payment.decline_code}
    publish_event(f"payment.{payment.status}", payment.account_id, now, **issuing.invoice_payload(invoice), **details)
    jobs.cancel_job(f"reconcile {payment.id}")
    if outcome.status == SUCCEEDED:
        record_success(payment, invoice, now, aggregate)
    else:
        record_decline(invoice, outcome.decline_code, now, aggregate)


def record_success(payment: Payment, invoice: Invoice, now: datetime, aggregate: SubscriptionAggregate | None) -> None:
    """Book a successful payment, issue its invoice, and activate a subscription that was waiting for it."""
    ledger.post_journal(
        "payment", invoice, now, payment.id, cash=payment.amount_minor, receivable=-payment.amount_minor
    )
    invoice.amount_paid_minor += payment.amount_minor
    invoice.balance_minor -= payment.amount_minor
    issuing.credit_overpayment(invoice, now)  # a credit note may have been issued while the payment was in flight
    issuing.issue_invoice(invoice, now)
    issuing.mark_paid_if_balance_is_zero(invoice)
    if invoice.number is None:  # the receipt shows it
        batching_session().write()
    if payment.on_session:  # the bank saw the customer, and the provider keeps the card for later charges
        payment.method.set_up_at = payment.method.set_up_at or now
    notices.enqueue_receipt(payment, invoice, aggregate)
    referrals.enqueue_reward_if_referred(payment.account_id, now)
    if aggregate and aggregate.subscription.status == "incomplete":
        aggregate.subscription.status = "active"


def record_late_success(payment: Payment, invoice: Invoice, outcome: Outcome, now: datetime) -> None:
    """Book the success of a payment already marked as failed, as account credit, which pays the invoice if open."""
    payment.status, payment.decline_code, payment.settled_at = "succeeded", None, now
    payment.provider_reference = outcome.reference or payment.provider_reference
    amount = payment.amount_minor
    ledger.post_journal("payment", invoice, now, payment.id, cash=amount, customer_credit=-amount)
    issuing.pay_open_invoices_from_credit(invoice.account_id, invoice.currency, now)


def record_decline(
    invoice: Invoice, decline_code: str | None, now: datetime, aggregate: SubscriptionAggregate | None
) -> None:
    """Apply a declined payment to its invoice and subscription.

    A first invoice is voided and its subscription canceled; an unpaid change is reverted; an ended subscription's debt
    is written off; anything else enters dunning: the next attempt is scheduled and the customer notified.
    """
    if invoice.status == "uncollectible":  # only the customer pays these, manually
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
    if aggregate is None and (next_attempt_on := invoice.next_attempt_on):  # no subscription whose job would retry it
        payload = {"invoice_id": invoice.id, "account_id": invoice.account_id}
        jobs.enqueue_job(
            COLLECT_JOB,
            payload,
            datetime.combine(next_attempt_on, time.min, UTC),
            f"collect {invoice.id} {next_attempt_on}",
        )
    notices.enqueue_payment_failed_notice(invoice, aggregate)


def compute_next_attempt(invoice: Invoice, today: date, decline_code: str | None) -> date | None:
    """Return the day of the next attempt by the dunning schedule; None if there is none."""
    dunning_schedule = dunning_schedule_of(current_settings().dunning)
    return dunning_schedule.next_retry_on(invoice.first_failed_on or today, today, decline_code)


def cancel_unpaid_start(aggregate: SubscriptionAggregate, reason: str) -> None:
    """Cancel a subscription whose first payment failed: void its invoices and release its coupons and credit."""
    now = aggregate.now
    for invoice in Invoice.list_open(aggregate.account.id):
        if invoice.subscription_id == aggregate.subscription.id:
            book_void(invoice, now)
    for discount in aggregate.list_discounts():
        Coupon.return_redemption(discount.coupon_id)
        discount.ended_at = now
    aggregate.subscription.status = "canceled"
    aggregate.subscription.cancel_reason = reason
    aggregate.subscription.canceled_at = now


def list_unpaid_changes(aggregate: SubscriptionAggregate) -> list[Invoice]:
    """List the invoices of changes that are not yet paid for.

    Raises PaymentInProgress if a payment for one is in flight at the provider: its outcome decides whether the change
    happened, and must be known before anything else is done.
    """
    if aggregate.subscription.status == "incomplete":
        return []
    open_invoices = [
        invoice
        for invoice in Invoice.list_open(aggregate.account.id)
        if invoice.subscription_id == aggregate.subscription.id
    ]
    unissued = [invoice for invoice in open_invoices if invoice.issued_at is None]
    if any(
        payment.is_in_flight and payment.status != "requires_action"
        for invoice in unissued
        for payment in invoice.payments
    ):
        raise PaymentInProgress
    return unissued


def revert_unpaid_changes(aggregate: SubscriptionAggregate) -> None:
    """Revert changes that still wait for the customer's authentication. Raises PaymentInProgress."""
    for invoice in list_unpaid_changes(aggregate):
        for payment in [payment for payment in invoice.payments if payment.is_in_flight]:
            payment.status, payment.decline_code, payment.settled_at = "failed", "abandoned", aggregate.now
        revert_change(invoice, aggregate)


def write_off_ended_subscription(aggregate: SubscriptionAggregate) -> None:
    """Write off what is owed on an ended subscription, skipping invoices with a payment in flight.

    A subscription on billing hold is skipped: its release first credits what the cancellation returns.
    """
    if aggregate.subscription.billing_held_at:
        return
    issuing.pay_open_invoices_from_credit(aggregate.account.id, aggregate.subscription.currency, aggregate.now)
    for invoice in Invoice.list_open(aggregate.account.id):
        if invoice.subscription_id == aggregate.subscription.id and not any(
            payment.is_in_flight for payment in invoice.payments
        ):
            issuing.mark_uncollectible(invoice, aggregate.now)


def revert_change(invoice: Invoice, aggregate: SubscriptionAggregate) -> None:
    """Revert a change that was not paid for: void its invoice and revert its events."""
    book_void(invoice, aggregate.now)
    refs = {line.cause for line in invoice.lines if line.cause} - {RENEWAL}
    for ref in sorted(refs):
        aggregate.record_event(fact.Reverted, ref)


def book_void(invoice: Invoice, now: datetime) -> None:
    """Void the invoice and return the account credit and coupon amounts that it used."""
    total_minor = invoice.total_minor
    ledger.post_journal(
        "void", invoice, now, receivable=-total_minor, revenue=total_minor - invoice.tax_minor, tax=invoice.tax_minor
    )
    if invoice.credit_applied_minor:
        credit_minor = invoice.credit_applied_minor
        ledger.post_journal("credit_returned", invoice, now, receivable=credit_minor, customer_credit=-credit_minor)
    invoice.status, invoice.balance_minor, invoice.next_attempt_on = "void", 0, None
    for line in invoice.lines:
        if line.kind == "discount" and line.coupon_id:
            restore_discount(invoice, line)


def restore_discount(invoice: Invoice, line: InvoiceLine) -> None:
    """Return to its discount the use that a void invoice made of it."""
    conditions = sa.and_(Discount.subscription_id == invoice.subscription_id, Discount.coupon_id == line.coupon_id)
    discount = db.session.scalars(sa.select(Discount).where(conditions)).one()
    renews = starts_new_period(
        (invoice_line.kind, invoice_line.item, invoice_line.cause, invoice_line.period_end)
        for invoice_line in invoice.lines
    )
    discount.used_minor += line.amount_minor
    discount.periods_used -= bool(renews or discount.coupon.duration == "once")
    discount.ended_at = None


@jobs.job_handler(RECONCILE_JOB)
def reconcile_payment(payload: dict, now: datetime) -> None:
    """Look up the outcome of an unresolved payment at the provider and complete it.

    Raises Retry while it is unknown.
    """
    payment = db.session.get_one(Payment, payload["payment_id"])
    if not payment.is_in_flight or payment.status == "requires_action":
        return
    outcome = find_outcome(payment, now)
    payment = complete_payment(payload["payment_id"], outcome, now) if outcome else send_payment(payload["payment_id"])
    if payment.status == "unknown":
        raise jobs.Retry(now + RECONCILE_AFTER)


def find_outcome(record: Payment | Refund, now: datetime, charge_reference: str | None = None) -> Outcome | None:
    """Look up the outcome of an unresolved payment or refund at the provider. Commits.

    None means that the provider does not have it: send it again under its own idempotency key. `charge_reference`: for
    a refund, the provider's reference of the payment.
    """
    record_id, is_old = record.id, record.created_at < now - SEARCH_AFTER
    db.session.commit()
    return (
        current_provider().search_outcome(record_id, charge_reference)
        if is_old
        else current_provider().find_outcome(record_id)
    )


@jobs.job_handler(EXPIRE_JOB)
def expire_payment(payload: dict, now: datetime) -> None:
    """Decline a payment that the payer never authenticated, unless the provider has an outcome by now."""
    payment = db.session.get_one(Payment, payload["payment_id"])
    if payment.status != "requires_action":
        return
    db.session.commit()
    outcome = current_provider().find_outcome(payload["payment_id"])
    if outcome is None or outcome.status == REQUIRES_ACTION:
        outcome = Outcome(DECLINED, decline_code="authentication_abandoned")
    complete_payment(payload["payment_id"], outcome, now)


def create_due_payments(
    aggregate: SubscriptionAggregate, on_session: bool = False, method: PaymentMethod | None = None
) -> list[Payment]:
    """Record a payment for each of the subscription's open invoices that is due for collection.

    The caller commits and sends them. With `method`, every open invoice is charged to it, whether its next attempt is
    due or not. Records none while the subscription is on billing hold.
    """
    payments: list[Payment] = []
    if aggregate.subscription.billing_held_at:
        return payments
    open_invoices = [
        invoice
        for invoice in Invoice.list_open(aggregate.account.id)
        if invoice.subscription_id == aggregate.subscription.id
    ]
    if any(
        invoice.attempts for invoice in open_invoices
    ):  # credit may have been granted while the last attempt was in flight
        issuing.pay_open_invoices_from_credit(aggregate.account.id, aggregate.subscription.currency, aggregate.now)
    for invoice in open_invoices:
        if invoice.status != "open" or any(payment.is_in_flight for payment in invoice.payments):
            continue
        if (
            not method
            and invoice.attempts
            and not (invoice.next_attempt_on and invoice.next_attempt_on <= aggregate.today)
        ):
            continue
        charge_method = method or select_invoice_method(invoice)
        if charge_method:
            payments.append(create_payment(invoice, charge_method, aggregate.now, on_session))
        else:
            record_decline(invoice, PAYMENT_METHOD_REQUIRED, aggregate.now, aggregate)
    return payments


def complete_sandbox_authentication(payment_id: str, approve: bool, now: datetime) -> Payment:
    """Complete a payment with the sandbox bank's authentication result. Raises NotFound."""
    payment = db.session.get(Payment, payment_id)
    if payment is None or payment.status != "requires_action":
        raise NotFound
    db.session.commit()
    if (outcome := SandboxProvider().authenticate(payment_id, approve)) is None:
        raise NotFound
    return complete_payment(payment_id, outcome, now)
