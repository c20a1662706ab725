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
from streamsvc.operations.billing.core.aggregate import Standing, ladder_of, stand
from streamsvc.operations.outbox.webhooks import publish_event
from streamsvc.rules.billing import facts as fact
from streamsvc.rules.billing.paid import RENEWAL, begins_a_period
from streamsvc.rules.refusals.billing import PaymentInProgress
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.storage import unit_of_work
from streamsvc.storage.database import db, lock, new_id
from streamsvc.worker import jobs

JOB = "payment.reconcile"
EXPIRE_JOB = "payment.expire"
COLLECT_JOB = "invoice.collect"
RECONCILE_AFTER = timedelta(seconds=30)
OLD = timedelta(minutes=10)
"""What is in doubt for longer is looked for in the provider's records before it is sent again."""
PAYER_HAS = timedelta(hours=23)
"""How long a payer may take to confirm; then the payment counts as declined."""
NO_METHOD = "payment_method_required"


def method_for(invoice: Invoice) -> PaymentMethod | None:
    """What the invoice is charged to: the subscription's own method where it has one, else the account's default."""
    own = invoice.subscription_id and db.session.get(Subscription, invoice.subscription_id).payment_method_id
    return method_of(invoice.account_id, own)


def method_of(account_id: str, own_id: str | None) -> PaymentMethod | None:
    """The method of this id, if it is kept, else the account's default."""
    kept = unit_of_work.known(("methods", account_id), lambda: db.session.scalars(PaymentMethod.kept(account_id)).all())
    by_preference = sorted(kept, key=lambda one: (one.id == own_id, one.is_default), reverse=True)
    best = by_preference[0] if by_preference else None
    return best if best and (best.id == own_id or best.is_default) else None


def record(invoice: Invoice, method: PaymentMethod, now: datetime, on_session: bool, lost_minor: int = 0) -> Payment:
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
        amount_minor=invoice.balance_minor + lost_minor,
        provider=method.provider,
        created_at=now,
    )
    invoice.payments.append(payment)
    unit_of_work.add(payment)
    unit_of_work.flush()
    jobs.enqueue(JOB, {"payment_id": payment.id}, now + RECONCILE_AFTER, f"reconcile {payment.id}")
    return payment


def send(payment_id: str) -> Payment:
    """Send a recorded payment and settle it. Not to be called inside a unit of work."""
    payment = db.session.get(Payment, payment_id)
    method = payment.method.reference
    request = (payment.id, method, payment.amount_minor, payment.currency, payment.on_session)
    db.session.commit()
    outcome = provider().charge(*request)
    if outcome.status == UNKNOWN:  # perhaps only the reply was lost
        outcome = provider().find(payment_id) or outcome
    return settle(payment_id, outcome, clock.now())


def resume(payment_id: str) -> Payment:
    """The payment, sent if nobody knows yet what became of it: under its own key, so that it is taken once."""
    payment = db.session.get(Payment, payment_id)
    return send(payment_id) if payment.status in ("pending", "unknown") else payment


def settle(payment_id: str, outcome: Outcome, now: datetime) -> Payment:
    """Book what came of a payment; a second time changes nothing. Commits."""
    owner = db.session.scalar(sa.select(Payment.account_id).where(Payment.id == payment_id))
    lock(Account, owner)
    payment = db.session.get(Payment, payment_id, populate_existing=True)
    invoice = db.session.get(Invoice, payment.invoice_id, populate_existing=True)
    book(payment, invoice, outcome, now)
    db.session.commit()
    return payment


def book(payment: Payment, invoice: Invoice, outcome: Outcome, now: datetime) -> None:
    """What came of a payment changes it, its invoice, and its subscription; under the account's lock."""
    at = stand(invoice.subscription_id, now) if invoice.subscription_id else None
    if payment.is_in_flight:
        payment.provider_reference = outcome.reference or payment.provider_reference
        _settle(payment, invoice, outcome, now, at)
    elif payment.status == "failed" and outcome.status == SUCCEEDED:
        paid_late(payment, invoice, outcome, now)
    if at:
        at.show()


def _settle(payment, invoice, outcome, now, at):
    if outcome.status == UNKNOWN:
        payment.status = "unknown"
        return
    payment.status = {SUCCEEDED: "succeeded", DECLINED: "failed", REQUIRES_ACTION: "requires_action"}[outcome.status]
    payment.decline_code, payment.next_action = outcome.decline_code, outcome.next_action
    if outcome.status == REQUIRES_ACTION:
        jobs.enqueue(EXPIRE_JOB, {"payment_id": payment.id}, now + PAYER_HAS, f"expire {payment.id}")
        return
    payment.settled_at = now
    words = {"payment_id": payment.id, "amount_minor": payment.amount_minor, "decline_code": payment.decline_code}
    publish_event(f"payment.{payment.status}", payment.account_id, now, **issuing.told(invoice), **words)
    jobs.withdraw(f"reconcile {payment.id}")
    if outcome.status == SUCCEEDED:
        receive(payment, invoice, now, at)
    else:
        decline(invoice, outcome.decline_code, now, at)


def receive(payment: Payment, invoice: Invoice, now: datetime, at: Standing | None) -> None:
    """The money is there."""
    ledger.post("payment", invoice, now, payment.id, cash=payment.amount_minor, receivable=-payment.amount_minor)
    invoice.amount_paid_minor += payment.amount_minor
    invoice.balance_minor -= payment.amount_minor
    issuing.surplus_to_credit(invoice, now)  # where a credit note came while the money was on its way
    issuing.number(invoice, now)
    issuing.settle_if_paid(invoice)
    if invoice.number is None:  # the receipt tells it
        unit_of_work.write()
    notices.receipt(payment, invoice, at)
    referrals.paid(payment.account_id, now)
    if at and at.subscription.status == "incomplete":
        at.subscription.status = "active"


def paid_late(payment: Payment, invoice: Invoice, outcome: Outcome, now: datetime) -> None:
    """We had given up on it, and the money came all the same: it pays the invoice if that is still open, else it is
    the customer's credit."""
    payment.status, payment.decline_code, payment.settled_at = "succeeded", None, now
    payment.provider_reference = outcome.reference or payment.provider_reference
    amount = payment.amount_minor
    ledger.post("payment", invoice, now, payment.id, cash=amount, customer_credit=-amount)
    issuing.spend_credit(invoice.account_id, invoice.currency, now)


def decline(invoice: Invoice, decline_code: str | None, now: datetime, at: Standing | None) -> None:
    """It was declined: a first invoice goes, with its subscription; a change is undone; a renewal climbs the ladder."""
    if invoice.status == "uncollectible":  # its payer tried by hand; nobody else does
        return
    if at and at.subscription.status == "incomplete":
        give_up_start(at, "payment_failed")
        return
    if at and invoice.issued_at is None:
        revert(invoice, at)
        return
    if at and at.timeline.ended_on:
        write_off(at)
        return
    today = at.today if at else now.date()
    invoice.attempts += 1
    invoice.first_failed_on = invoice.first_failed_on or today
    invoice.next_attempt_on = next_try(invoice, today, decline_code)
    if at is None and (again := invoice.next_attempt_on):  # no subscription whose job would come by
        asked = {"invoice_id": invoice.id, "account_id": invoice.account_id}
        jobs.enqueue(COLLECT_JOB, asked, datetime.combine(again, time.min, UTC), f"collect {invoice.id} {again}")
    notices.payment_failed(invoice, at)


def next_try(invoice: Invoice, today: date, decline_code: str | None) -> date | None:
    ladder = ladder_of(current_app.extensions["settings"].dunning)
    return ladder.next_try(invoice.first_failed_on, today, decline_code)


def give_up_start(at: Standing, reason: str) -> None:
    """A subscription that was never paid for ends: its invoices are void, coupon and account credit are given back."""
    now = at.now
    for invoice in issuing.open_invoices(at.account.id):
        if invoice.subscription_id == at.subscription.id:
            void(invoice, now)
    for discount in at.discounts():
        Coupon.give_back(discount.coupon_id)
        discount.ended_at = now
    at.subscription.status = "canceled"
    at.subscription.cancel_reason = reason
    at.subscription.canceled_at = now


def waiting(at: Standing) -> list[Invoice]:
    """Changes that are not paid for yet. Raises PaymentInProgress where the money may be on its way: whether that
    change happened has to be known before anything else does."""
    if at.subscription.status == "incomplete":
        return []
    mine = [one for one in issuing.open_invoices(at.account.id) if one.subscription_id == at.subscription.id]
    found = [invoice for invoice in mine if invoice.issued_at is None]
    if any(one.is_in_flight and one.status != "requires_action" for invoice in found for one in invoice.payments):
        raise PaymentInProgress
    return found


def clear_waiting(at: Standing) -> None:
    """A change that still waits for its payer gives way to what comes next. Raises PaymentInProgress."""
    for invoice in waiting(at):
        for payment in [one for one in invoice.payments if one.is_in_flight]:
            payment.status, payment.decline_code, payment.settled_at = "failed", "abandoned", at.now
        revert(invoice, at)


def write_off(at: Standing) -> None:
    """What is still owed on a subscription that ended is given up; what is being paid just now is waited for, and so is
    whoever takes it out of where it is parked: what it gives back comes first."""
    if at.subscription.parked_at:
        return
    issuing.spend_credit(at.account.id, at.subscription.currency, at.now)
    for invoice in issuing.open_invoices(at.account.id):
        if invoice.subscription_id == at.subscription.id and not any(one.is_in_flight for one in invoice.payments):
            issuing.give_up(invoice, at.now)


def revert(invoice: Invoice, at: Standing) -> None:
    """A change that was not paid for did not happen: its invoice is void, its event counts no more."""
    void(invoice, at.now)
    refs = {line.cause for line in invoice.lines if line.cause} - {RENEWAL}
    for ref in sorted(refs):
        at.happen(fact.Reverted, ref)


def void(invoice: Invoice, now: datetime) -> None:
    """Take back what the invoice asked for; what account credit had paid of it goes back to the account."""
    on_total = invoice.total_minor
    ledger.post("void", invoice, now, receivable=-on_total, revenue=on_total - invoice.tax_minor, tax=invoice.tax_minor)
    if invoice.credit_applied_minor:
        part = invoice.credit_applied_minor
        ledger.post("credit_returned", invoice, now, receivable=part, customer_credit=-part)
    invoice.status, invoice.balance_minor, invoice.next_attempt_on = "void", 0, None
    for line in invoice.lines:
        if line.kind == "discount" and line.coupon_id:
            give_back_discount(invoice, line)


def give_back_discount(invoice: Invoice, line: InvoiceLine) -> None:
    """A coupon that was taken off a void invoice was not used by it."""
    mine = sa.and_(Discount.subscription_id == invoice.subscription_id, Discount.coupon_id == line.coupon_id)
    discount = db.session.scalar(sa.select(Discount).where(mine))
    renews = begins_a_period((one.kind, one.item, one.cause, one.period_end) for one in invoice.lines)
    discount.used_minor += line.amount_minor
    discount.periods_used -= bool(renews or discount.coupon.duration == "once")
    discount.ended_at = None


@jobs.handler(JOB)
def reconcile(payload: dict, now: datetime) -> None:
    """Find out what became of a payment whose outcome we do not know, and settle it."""
    payment = db.session.get(Payment, payload["payment_id"])
    if not payment.is_in_flight or payment.status == "requires_action":
        return
    found = look_for(payment, now)
    payment = settle(payload["payment_id"], found, now) if found else send(payload["payment_id"])
    if payment.status == "unknown":
        raise jobs.Retry(now + RECONCILE_AFTER)


def look_for(request: Payment | Refund, now: datetime, charge: str | None = None) -> Outcome | None:
    """What the provider knows of a payment or refund in doubt; None: send it again, under its own key."""
    asked, old = request.id, request.created_at < now - OLD
    db.session.commit()
    return provider().search(asked, charge) if old else provider().find(asked)


@jobs.handler(EXPIRE_JOB)
def expire(payload: dict, now: datetime) -> None:
    """Nobody confirmed: the payment is declined, unless the bank meanwhile tells otherwise."""
    payment = db.session.get(Payment, payload["payment_id"])
    if payment.status != "requires_action":
        return
    db.session.commit()
    found = provider().find(payload["payment_id"])
    if found is None or found.status == REQUIRES_ACTION:
        found = Outcome(DECLINED, decline_code="authentication_abandoned")
    settle(payload["payment_id"], found, now)


def charge_open(at: Standing, on_session: bool = False, method: PaymentMethod | None = None) -> list[Payment]:
    """Record a payment for each open invoice of the subscription whose time has come; the caller commits and sends.

    With a `method` in hand, each of them is charged to it, whether its next try is due or not. None while it is parked.
    """
    payments = []
    if at.subscription.parked_at:
        return payments
    mine = [one for one in issuing.open_invoices(at.account.id) if one.subscription_id == at.subscription.id]
    if any(one.attempts for one in mine):  # credit that came while the last try was under way
        issuing.spend_credit(at.account.id, at.subscription.currency, at.now)
    for invoice in mine:
        if invoice.status != "open" or any(one.is_in_flight for one in invoice.payments):
            continue
        if not method and invoice.attempts and not (invoice.next_attempt_on and invoice.next_attempt_on <= at.today):
            continue
        charged_to = method or method_for(invoice)
        if charged_to:
            payments.append(record(invoice, charged_to, at.now, on_session))
        else:
            decline(invoice, NO_METHOD, at.now, at)
    return payments


def authenticate(payment_id: str, approve: bool, now: datetime) -> Payment:
    """The sandbox's bank asked its customer, and tells us what they said. Raises NotFound."""
    payment = db.session.get(Payment, payment_id)
    if payment is None or payment.status != "requires_action":
        raise NotFound
    db.session.commit()
    return settle(payment_id, SandboxProvider().authenticate(payment_id, approve), now)
