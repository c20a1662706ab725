"""Payment methods: attached at the provider, then stored. A working one pays overdue invoices at once."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from streamsvc.gateways.payments import current_provider
from streamsvc.gateways.payments.interface import PaymentMethodRejected, ProviderMethod, ProviderUnavailable
from streamsvc.models import Account
from streamsvc.models.subscriptions import PaymentMethod, Subscription
from streamsvc.operations.billing.core import charging, notices
from streamsvc.operations.billing.core.aggregate import load_locked
from streamsvc.operations.billing.invoices import one_off
from streamsvc.rules.refusals.requests import Invalid, Unavailable
from streamsvc.storage.database import db, fetch_one, lock_row
from streamsvc.worker import jobs

CARD_EXPIRY_JOB = "card.expiring"
EXPIRY_NOTICE_PERIOD = timedelta(days=30)


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
        card = payment_provider.attach(token, account_id, find_customer_reference(account_id, payment_provider.name))
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
    if card.exp_year and card.exp_month:
        expires_at = datetime(card.exp_year + card.exp_month // 12, card.exp_month % 12 + 1, 1, tzinfo=UTC)
        jobs.enqueue_job(CARD_EXPIRY_JOB, {"method_id": method.id}, max(expires_at - EXPIRY_NOTICE_PERIOD, now))
    return method


@jobs.job_handler(CARD_EXPIRY_JOB)
def notify_card_expiring(payload: dict, now: datetime) -> None:
    """Notify the account that the card which pays for its live subscription is about to expire."""
    method = db.session.get_one(PaymentMethod, payload["method_id"])
    account, subscription = db.session.get_one(Account, method.account_id), Subscription.find_live(method.account_id)
    if subscription and charging.select_account_method(account.id, subscription.payment_method_id) is method:
        notices.enqueue_card_expiring_notice(method, account, subscription, now)


def find_customer_reference(account_id: str, provider_name: str) -> str | None:
    """Find the reference of any method the account has or had at the provider: it identifies the customer there."""
    statement = sa.select(PaymentMethod.reference).where(PaymentMethod.account_id == account_id)
    return (fetch_one(statement.where(PaymentMethod.provider == provider_name).limit(1)) or (None,))[0]


def set_default_payment_method(method: PaymentMethod) -> None:
    """Make the method its account's default."""
    statement = sa.update(PaymentMethod).where(PaymentMethod.account_id == method.account_id, PaymentMethod.is_default)
    db.session.execute(statement.values(is_default=False))
    db.session.flush()
    method.is_default = True
    db.session.flush()


def remove_payment_method(method: PaymentMethod, now: datetime) -> None:
    """Remove the method. If it was the default, the one added last becomes the default."""
    was_default, method.is_default, method.removed_at = method.is_default, False, now
    db.session.flush()
    newest_method = PaymentMethod.select_owned(method.account_id).order_by(PaymentMethod.id.desc()).limit(1)
    new_default = db.session.scalar(newest_method)
    if was_default and new_default:
        new_default.is_default = True


def collect_overdue_invoices(method: PaymentMethod, now: datetime) -> None:
    """Charge the account's overdue invoices to this method at once. Commits.

    If a payment succeeds, the method becomes the default.
    """
    lock_row(Account, method.account_id)
    subscription = Subscription.find_live(method.account_id)
    payments, is_overdue = (
        one_off.create_overdue_one_off_payments(method, now),
        bool(subscription and subscription.past_due_since),
    )
    if subscription and is_overdue:
        aggregate = load_locked(subscription.id, now)
        payments += charging.create_due_payments(aggregate, on_session=True, method=method)
        aggregate.save_projection()
    db.session.commit()
    sent = [charging.send_payment(payment.id) for payment in payments]
    if any(payment.status == "succeeded" for payment in sent):
        lock_row(Account, method.account_id)
        set_default_payment_method(method)
        if subscription and is_overdue:
            subscription.payment_method_id = None
        db.session.commit()
