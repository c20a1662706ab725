"""Payment methods: attached at the provider first, kept here after; a working card pays what is overdue at once."""

from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from streamsvc.gateways.payments import provider
from streamsvc.gateways.payments.interface import MethodRefused
from streamsvc.models import Account
from streamsvc.models.subscriptions import PaymentMethod, Subscription
from streamsvc.operations.billing.core import charging, notices
from streamsvc.operations.billing.core.aggregate import load_locked
from streamsvc.operations.billing.invoices import one_off
from streamsvc.rules.refusals.requests import Invalid
from streamsvc.storage.database import db, fetch_one, lock_row
from streamsvc.worker import jobs

CARD_EXPIRY_JOB = "card.expiring"
EXPIRY_NOTICE_PERIOD = timedelta(days=30)


def attach_payment_method(account_id: str, token: str, now: datetime) -> PaymentMethod:
    """Keep the method behind a provider's token; the first one becomes the default. Raises Invalid."""
    bank = provider()
    try:
        card = bank.attach(token, account_id, find_customer_reference(account_id, bank.name))
    except MethodRefused as refused:
        raise Invalid(errors={"token": [f"The payment provider refused it: {refused.decline_code}."]}) from None
    lock_row(Account, account_id)
    first = PaymentMethod.default_of(account_id) is None
    method = PaymentMethod(
        account_id=account_id,
        provider=bank.name,
        reference=card.reference,
        kind=card.kind,
        brand=card.brand,
        last4=card.last4,
        exp_month=card.exp_month,
        exp_year=card.exp_year,
        fingerprint=card.fingerprint,
        is_default=first,
        created_at=now,
    )
    db.session.add(method)
    db.session.flush()
    if card.exp_year and card.exp_month:
        ends = datetime(card.exp_year + card.exp_month // 12, card.exp_month % 12 + 1, 1, tzinfo=UTC)
        jobs.enqueue_job(CARD_EXPIRY_JOB, {"method_id": method.id}, max(ends - EXPIRY_NOTICE_PERIOD, now))
    return method


@jobs.job_handler(CARD_EXPIRY_JOB)
def notify_card_expiring(payload: dict, now: datetime) -> None:
    """Tell whoever pays a subscription with a card that it is about to expire."""
    method = db.session.get(PaymentMethod, payload["method_id"])
    account, live = db.session.get(Account, method.account_id), Subscription.live_of(method.account_id)
    if live and charging.select_account_method(account.id, live.payment_method_id) is method:
        notices.enqueue_card_expiring_notice(method, account, live, now)


def start_card_setup(account_id: str) -> dict:
    """What a front end needs to have a card checked before it is added: {provider, client_secret}. Raises Invalid."""
    bank = provider()
    try:
        secret = bank.set_up(account_id, find_customer_reference(account_id, bank.name))
    except MethodRefused as refused:
        raise Invalid(errors={"": [f"The payment provider refused it: {refused.decline_code}."]}) from None
    return {"provider": bank.name, "client_secret": secret}


def find_customer_reference(account_id: str, provider_name: str) -> str | None:
    """Any method that the account has or had at the provider: it names the customer there."""
    mine = sa.select(PaymentMethod.reference).where(PaymentMethod.account_id == account_id)
    return (fetch_one(mine.where(PaymentMethod.provider == provider_name).limit(1)) or (None,))[0]


def set_default_payment_method(method: PaymentMethod) -> None:
    everyone = sa.update(PaymentMethod).where(PaymentMethod.account_id == method.account_id, PaymentMethod.is_default)
    db.session.execute(everyone.values(is_default=False))
    db.session.flush()
    method.is_default = True
    db.session.flush()


def remove_payment_method(method: PaymentMethod, now: datetime) -> None:
    """Forget it; the one added last takes its place as the default."""
    was_default, method.is_default, method.removed_at = method.is_default, False, now
    db.session.flush()
    last = PaymentMethod.kept(method.account_id).order_by(PaymentMethod.id.desc()).limit(1)
    heir = db.session.scalar(last)
    if was_default and heir:
        heir.is_default = True


def collect_overdue_invoices(method: PaymentMethod, now: datetime) -> None:
    """Charge what is overdue to this method at once; one that pays becomes the default. Commits."""
    lock_row(Account, method.account_id)
    live = Subscription.live_of(method.account_id)
    payments, is_overdue = one_off.create_overdue_one_off_payments(method, now), bool(live and live.past_due_since)
    if is_overdue:
        at = load_locked(live.id, now)
        payments += charging.create_due_payments(at, on_session=True, method=method)
        at.save_projection()
    db.session.commit()
    settled = [charging.send_payment(payment.id) for payment in payments]
    if any(payment.status == "succeeded" for payment in settled):
        lock_row(Account, method.account_id)
        set_default_payment_method(method)
        if is_overdue:
            live.payment_method_id = None
        db.session.commit()
