"""Payment methods: attached at the provider, then stored. A working one pays overdue invoices at once."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from streamsvc.gateways.payments import current_provider
from streamsvc.gateways.payments.interface import PaymentMethodRejected, ProviderMethod, ProviderUnavailable
from streamsvc.models import Account
from streamsvc.models.subscriptions import Invoice, Payment, PaymentMethod, Subscription
from streamsvc.operations.billing.core import (
    charging,
    customers,
    debts,
    due_payments,
    method_selection,
    notices,
    payment_limits,
)
from streamsvc.operations.billing.core.aggregate import collects_debts, load_locked
from streamsvc.operations.billing.payments import cleanup
from streamsvc.rules.refusals.accounts import TooManyAttempts
from streamsvc.rules.refusals.requests import Invalid, Unavailable
from streamsvc.rules.request_facts import RequestFacts
from streamsvc.storage.database import db, lock_row
from streamsvc.worker import jobs

CARD_EXPIRY_JOB = "card.expiring"
EXPIRY_NOTICE_PERIOD = timedelta(days=30)
CARD_DETAILS = ("brand", "last4", "exp_month", "exp_year", "fingerprint")


@contextmanager
def report_provider_errors(field: str) -> Iterator[None]:
    """Raise Invalid for `field` if the provider rejects the method, Unavailable if it cannot be reached."""
    try:
        yield
    except PaymentMethodRejected as error:
        raise Invalid(errors={field: [f"The payment provider refused it: {error.decline_code}."]}) from None
    except ProviderUnavailable:
        raise Unavailable(
            detail="The payment provider cannot be reached; nothing was charged. Try again shortly."
        ) from None


def attach_payment_method(account_id: str, token: str, now: datetime) -> PaymentMethod:
    """Attach and store the payment method behind a provider's token. Raises Invalid, Unavailable."""
    payment_provider = current_provider()
    with report_provider_errors("token"):
        card = customers.call_with_customer(
            account_id, lambda customer: payment_provider.attach(token, account_id, customer)
        )
    lock_row(Account, account_id)
    known = PaymentMethod.find_by_reference(account_id, payment_provider.name, card.reference)
    return known if known and known.removed_at is None else create_payment_method(account_id, card, now)


def create_payment_method(account_id: str, card: ProviderMethod, now: datetime) -> PaymentMethod:
    """Store a method of the current provider; an account's first one becomes its default.

    The caller holds the account's lock. Enqueues the expiry notice for a card.
    """
    is_first = PaymentMethod.find_default(account_id) is None
    method = PaymentMethod(
        account_id=account_id,
        provider=current_provider().name,
        reference=card.reference,
        kind=card.kind,
        brand=card.brand,
        last4=card.last4,
        exp_month=card.exp_month,
        exp_year=card.exp_year,
        fingerprint=card.fingerprint,
        is_default=is_first,
        set_up_at=now if card.is_set_up else None,
        created_at=now,
    )
    db.session.add(method)
    db.session.flush()
    _enqueue_expiry_notice(method, now)
    return method


def _enqueue_expiry_notice(method: PaymentMethod, now: datetime) -> None:
    if notify_at := _expiry_notice_at(method):
        jobs.enqueue_job(CARD_EXPIRY_JOB, {"method_id": method.id}, max(notify_at, now))


def _expiry_notice_at(method: PaymentMethod) -> datetime | None:
    if not (method.exp_year and method.exp_month):
        return None
    expires_at = datetime(method.exp_year + method.exp_month // 12, method.exp_month % 12 + 1, 1, tzinfo=UTC)
    return expires_at - EXPIRY_NOTICE_PERIOD


def update_card_details(method: PaymentMethod, card: ProviderMethod, now: datetime) -> None:
    """Update a card that its bank replaced: brand, last digits and expiry; the notice of its expiry moves with it."""
    expiry = (method.exp_year, method.exp_month)
    for name in CARD_DETAILS:
        setattr(method, name, getattr(card, name))
    if (method.exp_year, method.exp_month) != expiry:
        _enqueue_expiry_notice(method, now)


@jobs.job_handler(CARD_EXPIRY_JOB)
def notify_card_expiring(payload: dict, now: datetime) -> None:
    """Notify the account that the card which pays for its live subscription is about to expire."""
    method = db.session.get_one(PaymentMethod, payload["method_id"])
    if (notify_at := _expiry_notice_at(method)) is None or notify_at > now:  # renewed by its bank since
        return
    account, subscription = db.session.get_one(Account, method.account_id), Subscription.find_live(method.account_id)
    if subscription and method_selection.select_account_method(account.id, subscription.payment_method_id) is method:
        notices.enqueue_card_expiring_notice(method, account, subscription, now)


def set_default_payment_method(method: PaymentMethod) -> None:
    """Make the method its account's default."""
    statement = sa.update(PaymentMethod).where(PaymentMethod.account_id == method.account_id, PaymentMethod.is_default)
    db.session.execute(statement.values(is_default=False))
    db.session.flush()
    method.is_default = True
    db.session.flush()


def remove_payment_method(method: PaymentMethod, now: datetime) -> None:
    """Remove the method and enqueue its detachment at the provider.

    If it was the default, the one added last becomes the default.
    """
    cleanup.enqueue_detachment(method, now)
    _mark_removed(method, now)


def record_method_detached(method: PaymentMethod, now: datetime) -> None:
    """Remove a method that was detached at the provider."""
    if method.removed_at is None:
        _mark_removed(method, now)


def _mark_removed(method: PaymentMethod, now: datetime) -> None:
    was_default, method.is_default, method.removed_at = method.is_default, False, now
    db.session.flush()
    newest_method = PaymentMethod.select_owned(method.account_id).order_by(PaymentMethod.id.desc()).limit(1)
    new_default = db.session.scalar(newest_method)
    if was_default and new_default:
        new_default.is_default = True


def collect_overdue_invoices(method: PaymentMethod, facts: RequestFacts, now: datetime) -> None:
    """Charge the account's overdue invoices to this method at once. Commits.

    If a payment succeeds, the method becomes the default. After too many declined payments none is made: what is
    overdue is retried on the dunning schedule.
    """
    account_id, method_id = method.account_id, method.id
    is_overdue = bool(debts.list_overdue(Invoice.list_open(account_id)))
    db.session.commit()
    if not is_overdue:
        return
    try:
        with payment_limits.limited_payment_attempt(account_id, facts, method_id) as attempt:
            payments = _charge_overdue_invoices(db.session.get_one(PaymentMethod, method_id), now)
            attempt.is_declined = any(payment.status == "failed" for payment in payments)
    except TooManyAttempts:
        return


def _charge_overdue_invoices(method: PaymentMethod, now: datetime) -> list[Payment]:
    lock_row(Account, method.account_id)
    subscription = Subscription.find_live(method.account_id)
    overdue = debts.list_overdue(Invoice.list_open(method.account_id))
    if subscription and subscription.past_due_since and collects_debts(subscription):
        aggregate = load_locked(subscription.id, now)
        payments = due_payments.create_due_payments(aggregate, on_session=True, method=method)
        aggregate.save_projection()
    else:
        payments = due_payments.create_debt_payments(overdue, now, method)
    db.session.commit()
    sent = [charging.send_payment(payment.id) for payment in payments]
    if any(payment.status == "succeeded" for payment in sent):
        lock_row(Account, method.account_id)
        set_default_payment_method(method)
        if subscription and overdue:
            subscription.payment_method_id = None
        db.session.commit()
    return sent
