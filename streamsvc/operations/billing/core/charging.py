"""Charging: a payment is recorded, sent to the provider outside any transaction, and completed.

The record's id is the idempotency key at the provider. If the process dies in between, `reconcile_payment` looks the
payment up at the provider, and sends it again under the same key only if it never arrived.
"""

from datetime import datetime, timedelta

import sqlalchemy as sa

from streamsvc import clock
from streamsvc.gateways.payments import current_provider
from streamsvc.gateways.payments.interface import (
    DECLINED,
    REQUIRES_ACTION,
    SUCCEEDED,
    UNKNOWN,
    ChargeRequest,
    EventProvider,
    Outcome,
)
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
from streamsvc.operations.billing.core import (
    carryover,
    debts,
    gift_purchases,
    issuing,
    ledger,
    notices,
    payment_limits,
    referrals,
)
from streamsvc.operations.billing.core.aggregate import (
    SubscriptionAggregate,
    caused_by,
    collects_debts,
    list_waiting_invoices,
    load_locked,
    update_live_subscription,
)
from streamsvc.operations.outbox.webhooks import publish_event
from streamsvc.rules.billing import facts as fact
from streamsvc.rules.billing.calendar import civil_day
from streamsvc.rules.billing.paid import starts_new_period
from streamsvc.rules.refusals.billing import PaymentInProgress
from streamsvc.rules.refusals.requests import ClockNotTrusted, NotFound
from streamsvc.storage import session_guard
from streamsvc.storage.database import batching_session, db, lock_existing_row, new_id
from streamsvc.worker import jobs

RECONCILE_JOB = "payment.reconcile"
EXPIRE_JOB = "payment.expire"
CANCEL_JOB = "payment.cancel"
RECONCILE_AFTER = timedelta(seconds=30)
SEARCH_AFTER = timedelta(minutes=10)
"""A payment of unknown outcome that is older than this is searched for in the provider's records before a resend."""
AUTHENTICATION_TIMEOUT = timedelta(hours=23)
"""How long a payer has to authenticate a payment before it counts as declined."""
PAYMENT_METHOD_REQUIRED = payment_limits.PAYMENT_METHOD_REQUIRED
PARTIALLY_CAPTURED = "partially_captured"
"""The decline code of what an invoice still lacks after the provider captured less than was asked for."""


def select_retry_method(invoice: Invoice) -> PaymentMethod | None:
    """Return the payment method to charge an invoice to without the customer; None if there is none.

    A card whose owner disputed a payment of the invoice is not charged for it again: the card networks forbid that.
    """
    method = select_invoice_method(invoice)
    disputed = [payment.method for payment in invoice.payments if payment.method and payment.status == "disputed"]
    return None if method and any(method.is_same_card(card) for card in disputed) else method


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
    invoice: Invoice, method: PaymentMethod, now: datetime, on_session: bool, amount_minor: int | None = None
) -> Payment:
    """Record a payment about to be sent, for `amount_minor`; default: the invoice's balance.

    It also covers the account's balances that were carried over: what exceeds the invoice's own becomes account credit
    when the payment succeeds, and pays them. Enqueues its reconciliation, which takes over if this process does not
    complete it. Raises ClockNotTrusted.
    """
    if clock.find_doubt():
        raise ClockNotTrusted
    payment = Payment(
        id=new_id("pay"),
        account_id=invoice.account_id,
        invoice_id=invoice.id,
        payment_method_id=method.id,
        status="pending",
        on_session=on_session,
        currency=invoice.currency,
        amount_minor=amount_minor or carryover.chargeable_amount(invoice, invoice.balance_minor),
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
    assert payment.method is not None, "only a payment through a provider is sent"
    invoice = db.session.get_one(Invoice, payment.invoice_id)
    amount = (payment.amount_minor, payment.currency)
    request = ChargeRequest(
        payment.id, payment.method.reference, *amount, payment.on_session, invoice.id, invoice.number
    )
    db.session.commit()
    session_guard.finish_even_if_signed_out()
    outcome = current_provider().charge(request)
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
    account = lock_existing_row(Account, account_id)
    payment = db.session.get_one(Payment, payment_id, populate_existing=True)
    was_waiting = payment.status == "requires_action"
    invoice = db.session.get_one(Invoice, payment.invoice_id, populate_existing=True)
    aggregate = load_locked(invoice.subscription_id, now) if invoice.subscription_id else None
    book_outcome(payment, invoice, outcome, now, aggregate)
    if aggregate is None or not collects_debts(aggregate.subscription):
        update_live_subscription(account, now)
    db.session.commit()
    if was_waiting and payment.on_session and payment.status == "succeeded":
        payment_limits.refund_authenticated_payment(payment)
    return payment


def book_outcome(
    payment: Payment, invoice: Invoice, outcome: Outcome, now: datetime, aggregate: SubscriptionAggregate | None
) -> None:
    """Apply an outcome to a payment, its invoice, and its subscription. The caller holds the account's lock.

    `aggregate`: the invoice's subscription; None for a one-off invoice.
    """
    if outcome.status == SUCCEEDED and (payment.is_in_flight or payment.status == "failed"):
        note_captured_amount(payment, outcome.captured_minor)
    if payment.is_in_flight:
        payment.provider_reference = outcome.reference or payment.provider_reference
        _apply_outcome(payment, invoice, outcome, now, aggregate)
    elif payment.status == "failed" and outcome.status == SUCCEEDED:
        record_late_success(payment, invoice, outcome, now)
    if aggregate:
        aggregate.save_projection()


def note_captured_amount(payment: Payment, captured_minor: int | None) -> None:
    """Reduce the payment to what the provider captured of it, if that is less than was asked for."""
    if captured_minor is not None and captured_minor < payment.amount_minor:
        payment.requested_minor, payment.amount_minor = payment.amount_minor, captured_minor


def abandon_payment(payment: Payment, now: datetime) -> None:
    """Mark a payment that awaits its payer as abandoned, and enqueue its cancellation at the provider.

    The cancellation keeps the payer from completing it later.
    """
    payment.status, payment.decline_code, payment.settled_at = "failed", "abandoned", now
    enqueue_cancellation(payment, now)


def enqueue_cancellation(payment: Payment, now: datetime) -> None:
    """Enqueue the cancellation at the provider of a payment that its payer could still complete."""
    jobs.enqueue_job(CANCEL_JOB, {"payment_id": payment.id}, now, f"cancel {payment.id}")


def refresh_waiting_payments(account_id: str, now: datetime) -> None:
    """Update the account's payments that await the payer from the provider. Commits.

    The payer may have completed one whose event has not arrived: it must not be replaced. Must not be called inside a
    transaction.
    """
    waiting = sa.select(Payment).where(Payment.account_id == account_id, Payment.status == "requires_action")
    references = [(payment.id, payment.provider_reference) for payment in db.session.scalars(waiting)]
    provider = current_provider()
    if not references or not isinstance(provider, EventProvider):
        return
    db.session.commit()
    for payment_id, reference in references:
        outcome = provider.retrieve_outcome(reference) if reference else Outcome(UNKNOWN)
        if outcome.status not in (REQUIRES_ACTION, UNKNOWN):
            complete_payment(payment_id, outcome, now)


def _apply_outcome(
    payment: Payment, invoice: Invoice, outcome: Outcome, now: datetime, aggregate: SubscriptionAggregate | None
) -> None:
    if outcome.status == UNKNOWN:
        payment.status = "unknown"
        return
    if outcome.status == DECLINED and payment.status == "requires_action":  # the payer could still use another card
        enqueue_cancellation(payment, now)
    payment.status = {SUCCEEDED: "succeeded", DECLINED: "failed", REQUIRES_ACTION: "requires_action"}[outcome.status]
    payment.decline_code, payment.next_action = outcome.decline_code, outcome.next_action
    if outcome.status == REQUIRES_ACTION:
        jobs.enqueue_job(EXPIRE_JOB, {"payment_id": payment.id}, now + AUTHENTICATION_TIMEOUT, f"expire {payment.id}")
        return
    payment.settled_at = now
    publish_payment_event(payment, invoice, now)
    jobs.cancel_job(f"reconcile {payment.id}")
    is_partial = payment.requested_minor is not None and payment.amount_minor < invoice.balance_minor
    if outcome.status == SUCCEEDED and is_partial and invoice.issued_at is None:
        record_insufficient_capture(payment, invoice, now, aggregate)
    elif outcome.status == SUCCEEDED:
        record_success(payment, invoice, now, aggregate)
        if payment.requested_minor and invoice.status == "open":
            record_decline(invoice, PARTIALLY_CAPTURED, now, aggregate)
    else:
        record_decline(invoice, outcome.decline_code, now, aggregate)


def publish_payment_event(payment: Payment, invoice: Invoice, now: datetime) -> None:
    """Publish that a payment has succeeded or failed."""
    details = {"payment_id": payment.id, "amount_minor": payment.amount_minor, "decline_code": payment.decline_code}
    publish_event(f"payment.{payment.status}", payment.account_id, now, **issuing.invoice_payload(invoice), **details)


def record_success(payment: Payment, invoice: Invoice, now: datetime, aggregate: SubscriptionAggregate | None) -> None:
    """Book a successful payment, issue its invoice, and activate a subscription that was waiting for it."""
    ledger.post_journal(
        "payment", invoice, now, payment.id, cash=payment.amount_minor, receivable=-payment.amount_minor
    )
    invoice.amount_paid_minor += payment.amount_minor
    invoice.balance_minor -= payment.amount_minor
    is_overpaid = invoice.balance_minor < 0  # by what was carried over, or credited while the payment was in flight
    issuing.credit_overpayment(invoice, now)
    issuing.issue_invoice(invoice, now)
    issuing.update_status(invoice, now)
    if is_overpaid:
        carryover.pay_carried_over(invoice, now)
    if invoice.number is None:  # the receipt shows it
        batching_session().write()
    if payment.on_session and payment.method:  # the bank saw the customer: the card can be charged later
        payment.method.set_up_at = payment.method.set_up_at or now
    notices.enqueue_receipt(payment, invoice, aggregate)
    if invoice.status == "paid":
        gift_purchases.create_bought_code(invoice, now)
        referrals.enqueue_reward_if_referred(payment.account_id, now)
    if aggregate and aggregate.subscription.status == "incomplete":
        aggregate.subscription.status = "active"


def record_insufficient_capture(
    payment: Payment, invoice: Invoice, now: datetime, aggregate: SubscriptionAggregate | None
) -> None:
    """Book a partial capture for a start or change that takes effect only if it is paid in full.

    It does not take effect; what came is account credit.
    """
    amount = payment.amount_minor
    record_decline(invoice, PARTIALLY_CAPTURED, now, aggregate)
    ledger.post_journal("payment", invoice, now, payment.id, cash=amount, customer_credit=-amount)
    issuing.pay_open_invoices_from_credit(invoice.account_id, invoice.currency, now)


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

    A first invoice is voided and its subscription canceled; an unpaid change is reverted; a gift is not bought.
    Anything else enters dunning: the next attempt is scheduled and the customer notified.
    """
    if invoice.status == "uncollectible":  # only the customer pays these, manually
        return
    if aggregate is None and invoice.issued_at is None:  # a gift, which is bought only if it is paid
        book_void(invoice, now)
        return
    if decline_code == debts.AMOUNT_TOO_SMALL:  # in the currency into which the provider converts it
        issuing.issue_invoice(invoice, now)
        if aggregate and aggregate.subscription.status == "incomplete":
            aggregate.subscription.status = "active"
        return
    if aggregate and aggregate.subscription.status == "incomplete":
        cancel_unpaid_start(aggregate, "payment_failed")
        return
    if aggregate and invoice.issued_at is None:
        revert_change(invoice, aggregate)
        return
    today = aggregate.today if aggregate else debts.billing_day(invoice, now)
    invoice.attempts += 1
    invoice.first_failed_on = invoice.first_failed_on or today
    invoice.next_attempt_on = debts.compute_next_attempt(invoice, today, decline_code)
    debts.enqueue_notices(invoice.account_id, now)


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
    waiting = list_waiting_invoices(aggregate.subscription)
    if any(
        payment.is_in_flight and payment.status != "requires_action"
        for invoice in waiting
        for payment in invoice.payments
    ):
        raise PaymentInProgress
    return waiting


def revert_unpaid_changes(aggregate: SubscriptionAggregate) -> None:
    """Revert changes that still wait for the customer's authentication. Raises PaymentInProgress."""
    for invoice in list_unpaid_changes(aggregate):
        for payment in [payment for payment in invoice.payments if payment.is_in_flight]:
            abandon_payment(payment, aggregate.now)
        revert_change(invoice, aggregate)


def write_off_small_debts(account: Account, now: datetime) -> None:
    """Write off what is too small to charge and was not covered by another payment in time."""
    today = civil_day(now, account.time_zone)
    for invoice in debts.list_collectable(Invoice.list_open(account.id)):
        if debts.is_small(invoice) and debts.small_write_off_day(invoice) <= today:
            issuing.mark_uncollectible(invoice, now)


def write_off_debts(account_id: str, now: datetime) -> None:
    """Write off what the account owes after applying its credit, skipping invoices with a payment in flight."""
    for invoice in debts.list_collectable(Invoice.list_open(account_id)):
        if debts.is_of_transferred_subscription(invoice):
            continue
        issuing.pay_open_invoices_from_credit(account_id, invoice.currency, now)
        issuing.mark_uncollectible(invoice, now)


def revert_change(invoice: Invoice, aggregate: SubscriptionAggregate) -> None:
    """Revert a change that was not paid for: void its invoice and revert its events."""
    book_void(invoice, aggregate.now)
    for ref in sorted(caused_by(invoice)):
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
    invoice.status, invoice.balance_minor = "void", 0
    invoice.first_failed_on = invoice.next_attempt_on = None
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
    is_counted = renews or discount.counted_by == invoice.id or discount.coupon.duration == "once"
    discount.periods_used -= is_counted
    if discount.counted_by == invoice.id:
        discount.counted_period = discount.counted_by = None
    discount.ended_at = discount.removed_at


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
    record_id, is_old, reference = record.id, record.created_at < now - SEARCH_AFTER, record.provider_reference
    method = (record.payment if isinstance(record, Refund) else record).method
    assert method is not None, "only a payment through a provider has an outcome there"
    method_reference, provider = method.reference, current_provider()
    db.session.commit()
    if reference and charge_reference is None and isinstance(provider, EventProvider):
        return provider.retrieve_outcome(reference)
    if is_old:
        return provider.search_outcome(record_id, method_reference, charge_reference)
    return provider.find_outcome(record_id)


@jobs.job_handler(EXPIRE_JOB)
def expire_payment(payload: dict, now: datetime) -> None:
    """Cancel a payment that the payer never authenticated, and decline it unless the provider has another outcome.

    Raises Retry while the provider is unavailable.
    """
    payment = db.session.get_one(Payment, payload["payment_id"])
    if payment.status != "requires_action":
        return
    reference = payment.provider_reference
    db.session.commit()
    outcome = current_provider().cancel_charge(reference) if reference else Outcome(DECLINED)
    if outcome.status == UNKNOWN:
        raise jobs.Retry(now + RECONCILE_AFTER)
    if outcome.status == DECLINED:
        outcome = Outcome(DECLINED, outcome.reference, "authentication_abandoned")
    complete_payment(payload["payment_id"], outcome, now)


def create_due_payments(
    aggregate: SubscriptionAggregate, on_session: bool = False, method: PaymentMethod | None = None
) -> list[Payment]:
    """Record a payment for each of the subscription's open invoices that is due for collection.

    The caller commits and sends them. With `method`, every open invoice is charged to it, whether its next attempt is
    due or not. Unless the customer is waiting for a change of theirs, everything else that the account owes is
    collected with it. Balances below the provider's minimum are carried over: they are charged with the next payment
    that reaches it. Records none while the subscription is on billing hold.
    """
    if aggregate.subscription.billing_held_at:
        return []
    own: list[Invoice] = []
    others: list[Invoice] = []
    for invoice in Invoice.list_open(aggregate.account.id):
        (own if invoice.subscription_id == aggregate.subscription.id else others).append(invoice)
    payments = _create_payments(own, aggregate.now, on_session, method, aggregate)
    if method or not on_session:
        payments += create_debt_payments(others, aggregate.now, method)
    return payments


def create_debt_payments(invoices: list[Invoice], now: datetime, method: PaymentMethod | None = None) -> list[Payment]:
    """Record a payment for each of these open invoices that is due, or for all of them with `method`.

    They belong to no subscription or to one that has ended. The caller commits and sends the payments.
    """
    return _create_payments(debts.list_collectable(invoices), now, method is not None, method, None)


def _create_payments(
    invoices: list[Invoice],
    now: datetime,
    on_session: bool,
    method: PaymentMethod | None,
    aggregate: SubscriptionAggregate | None,
) -> list[Payment]:
    payments: list[Payment] = []
    for account_id, currency in {(row.account_id, row.currency): None for row in invoices if row.attempts}:
        # credit may have been granted while the last attempt was in flight
        issuing.pay_open_invoices_from_credit(account_id, currency, now)
    due = [invoice for invoice in invoices if method or _is_due(invoice, aggregate, now)]
    for invoice in carryover.select_chargeable([invoice for invoice in due if _is_chargeable(invoice)]):
        if charge_method := method or select_retry_method(invoice):
            payments.append(create_payment(invoice, charge_method, now, on_session))
        else:
            record_decline(invoice, PAYMENT_METHOD_REQUIRED, now, aggregate)
    for invoice in invoices:
        carry_over_if_small(invoice, now, aggregate)
    return payments


def _is_due(invoice: Invoice, aggregate: SubscriptionAggregate | None, now: datetime) -> bool:
    return debts.is_due(invoice, aggregate.today if aggregate else debts.billing_day(invoice, now))


def _is_chargeable(invoice: Invoice) -> bool:
    return invoice.status == "open" and not any(payment.is_in_flight for payment in invoice.payments)


def carry_over_if_small(invoice: Invoice, now: datetime, aggregate: SubscriptionAggregate | None) -> None:
    """Issue an invoice whose balance is too small to charge; what it pays for takes effect without a payment."""
    if not carryover.is_carried_over(invoice):
        return
    issuing.issue_invoice(invoice, now)
    invoice.first_failed_on = invoice.next_attempt_on = None  # nothing is overdue that cannot be paid
    if aggregate and aggregate.subscription.status == "incomplete":
        aggregate.subscription.status = "active"


def complete_sandbox_authentication(payment_id: str, approve: bool, now: datetime) -> Payment:
    """Complete a payment with the sandbox bank's authentication result. Raises NotFound."""
    payment = db.session.get(Payment, payment_id)
    if payment is None or payment.status != "requires_action":
        raise NotFound
    db.session.commit()
    if (outcome := SandboxProvider().authenticate(payment_id, approve)) is None:
        raise NotFound
    return complete_payment(payment_id, outcome, now)
