"""A subscription's first day: the price, the trial, coupon and gift, the first invoice, the first payment."""

from datetime import datetime

import sqlalchemy as sa

from streamsvc.models import Account
from streamsvc.models.subscriptions import (
    Invoice,
    InvoiceLine,
    Payment,
    PaymentMethod,
    Price,
    Subscription,
)
from streamsvc.operations.billing.core import charging, referrals
from streamsvc.operations.billing.core.aggregate import SubscriptionAggregate, load_locked
from streamsvc.operations.billing.core.credit import redeem_gift_code
from streamsvc.operations.billing.subscriptions import coupons
from streamsvc.rules.billing import facts as fact
from streamsvc.rules.billing.calendar import civil_day
from streamsvc.rules.refusals.accounts import AccountNotActive
from streamsvc.rules.refusals.billing import AlreadySubscribed, AuthenticationRequired, PaymentFailed, PaymentInProgress
from streamsvc.rules.refusals.requests import Invalid
from streamsvc.rules.sign_in.sessions import hash_token
from streamsvc.storage.database import db, lock_row, new_id


def subscribe_account(account_id: str, body: dict, now: datetime, actor: str, request_key: str | None) -> Subscription:
    """Start a subscription; the answer once its first payment is settled. Commits on the way.

    Raises AccountNotActive, AlreadySubscribed, CouponInvalid, GiftCodeInvalid, Invalid, PaymentFailed,
    AuthenticationRequired.
    """
    account = lock_row(Account, account_id)
    begun = request_key and db.session.scalar(sa.select(Subscription).where(Subscription.request_key == request_key))
    if begun:  # the request was cut short before it could answer
        return require_started(begun.id)
    if account.status != "active":  # deleted, perhaps, since the request was let in
        raise AccountNotActive(detail="Only an active account can subscribe.")
    at = start_subscription(account, body, now, actor, request_key)
    payments = charging.create_due_payments(at, on_session=True) if at.subscription.status == "incomplete" else []
    at.save_projection()
    db.session.commit()
    for payment in payments:
        charging.send_payment(payment.id)
    return require_started(at.subscription.id)


def start_subscription(
    account: Account,
    body: dict,
    now: datetime,
    actor: str,
    request_key: str | None = None,
    payment_method_required: bool = True,
) -> SubscriptionAggregate:
    """Everything up to the first payment; nothing is committed."""
    replace_abandoned_start(account, now)
    price = Price.on_sale(body["price_id"], account.country)
    if price is None:
        raise Invalid(errors={"price_id": ["There is no such price on sale in this account's country."]})
    method = get_requested_method(account, body.get("payment_method_id"))
    today = civil_day(now, account.time_zone)
    subscription = Subscription(
        id=new_id("sub"),
        account_id=account.id,
        plan_id=price.plan_id,
        price_id=price.id,
        status="incomplete",
        currency=price.currency,
        time_zone=account.time_zone,
        payment_method_id=method.id if method and body.get("payment_method_id") else None,
        started_on=body.get("start_date") or today,
        device_hash=hash_device_fingerprint(body.get("device_fingerprint")),
        request_key=request_key,
        created_at=now,
    )
    db.session.add(subscription)
    db.session.flush()
    if body.get("gift_code"):
        redeem_gift_code(account, body["gift_code"], now)
    addons = get_addon_prices(account, price, body.get("addons") or ())
    coupons.redeem_coupons(subscription, requested_coupon_codes(body), [addon.plan.code for addon in addons], now)
    if body.get("referral_code"):
        referrals.create_referral(subscription, body["referral_code"], now)
    trial_days = price.trial_days if can_start_trial(account, subscription.device_hash) else 0
    at = load_locked(subscription.id, now)
    check_anchor_day(price, body.get("anchor_day"))
    first = (subscription.started_on, body.get("anchor_day"))
    if body.get("paid_through"):
        at.record_event(fact.Imported, price.terms, first[0], body["paid_through"], first[1], actor=actor)
    else:
        at.record_event(fact.Started, price.terms, *first, trial_days, actor=actor)
    for addon in addons:
        at.record_event(fact.AddonAdded, addon.plan.code, addon.terms, actor=actor)
    at.create_due_invoices("start", requires_payment=True)
    owing = [one for one in Invoice.open_of(account.id) if one.subscription_id == subscription.id]
    if owing and method is None and payment_method_required:
        raise PaymentFailed(decline_code=charging.PAYMENT_METHOD_REQUIRED)
    if not owing and subscription.started_on <= today:
        subscription.status = "active"
    return at


def requested_coupon_codes(body: dict) -> list[str]:
    """The coupons asked for, in order: the one alone, then those of the list."""
    return [code for code in (body.get("coupon"), *(body.get("coupons") or ())) if code]


def replace_abandoned_start(account: Account, now: datetime) -> None:
    """One live subscription for each account; a start that still waits for the payer gives way to a new one."""
    live = Subscription.live_of(account.id)
    if live is None:
        return
    waits = live.status == "incomplete" and db.session.scalar(
        sa.select(sa.func.count()).where(
            Payment.status == "requires_action", Payment.invoice_id == Invoice.id, Invoice.subscription_id == live.id
        )
    )
    if not waits:
        raise AlreadySubscribed
    cancel_abandoned_start(load_locked(live.id, now))


def cancel_abandoned_start(aggregate: SubscriptionAggregate) -> None:
    """Take back a start whose payer never confirmed. Raises PaymentInProgress where the money may be on its way."""
    moving = [one for bill in Invoice.open_of_subscription(aggregate.subscription.id) for one in bill.payments]
    if any(payment.is_in_flight and payment.status != "requires_action" for payment in moving):
        raise PaymentInProgress
    for payment in moving:
        if payment.status == "requires_action":
            payment.status, payment.decline_code, payment.settled_at = "failed", "abandoned", aggregate.now
    charging.cancel_unpaid_start(aggregate, "abandoned")
    aggregate.save_projection()


def get_addon_prices(account: Account, base_price: Price, price_ids) -> list[Price]:
    """Prices that go along with the base price: same currency, same interval, each plan once."""
    prices = [Price.on_sale(price_id, account.country) for price_id in price_ids]
    fits = [p and (p.currency, p.terms.interval) == (base_price.currency, base_price.terms.interval) for p in prices]
    if not all(fits) or len({p.plan_id for p in [base_price, *prices]}) <= len(prices):
        raise Invalid(errors={"addons": ["Give prices of other plans, with the currency and interval of this one."]})
    return prices


def check_anchor_day(price: Price, day: int | None) -> None:
    if day and price.terms.interval.months == 0:
        raise Invalid(errors={"anchor_day": ["Only prices by the month or year have an anchor day."]})


def get_requested_method(account: Account, method_id: str | None) -> PaymentMethod | None:
    if method_id is None:
        return PaymentMethod.default_of(account.id)
    method = PaymentMethod.of(account.id, method_id)
    if method is None:
        raise Invalid(errors={"payment_method_id": ["There is no such payment method."]})
    return method


def hash_device_fingerprint(device_fingerprint: str | None) -> str | None:
    """What is kept of what the app knows the device by: enough to know it again."""
    return device_fingerprint and hash_token(f"device:{device_fingerprint}")


def can_start_trial(account: Account, device_hash: str | None) -> bool:
    """One trial for each household: the account and whoever shares one of its cards, kept or removed, or its device.

    A trial that moved away was the customer's all the same. An address on the net makes no household: carriers put
    thousands of homes behind one.
    """
    theirs = (Invoice.account_id == account.id, Invoice.number.is_not(None), InvoiceLine.kind == "trial")
    billed = sa.select(Invoice.id).join(InvoiceLine, InvoiceLine.invoice_id == Invoice.id).where(*theirs).limit(1)
    if db.session.scalar(billed):
        return False
    cards = sa.select(PaymentMethod.fingerprint).where(PaymentMethod.account_id == account.id)
    holders = sa.select(PaymentMethod.account_id).where(PaymentMethod.fingerprint.in_(cards))
    who = [Subscription.account_id == account.id, Subscription.account_id.in_(holders)]
    if device_hash:
        who.append(Subscription.device_hash == device_hash)
    tried = (db.select(Subscription.id).where(Subscription.trial_end.is_not(None), one).limit(1) for one in who)
    return not any(db.session.scalar(query) for query in tried)


def require_started(subscription_id: str) -> Subscription:
    """The subscription, once its first payments are settled. Raises what the payer has to hear."""
    subscription = db.session.get(Subscription, subscription_id, populate_existing=True)
    if subscription.status == "canceled" or subscription.status == "incomplete":
        raise_if_not_paid(find_last_payment(subscription_id))
    return subscription


def find_last_payment(subscription_id: str) -> Payment | None:
    return db.session.scalar(
        sa.select(Payment)
        .join(Invoice, Invoice.id == Payment.invoice_id)
        .where(Invoice.subscription_id == subscription_id)
        .order_by(Payment.id.desc())
        .limit(1)
    )


def raise_if_not_paid(payment: Payment | None) -> None:
    """Raise what the payer has to do, if anything."""
    if payment and payment.status == "failed":
        raise PaymentFailed(decline_code=payment.decline_code)
    if payment and payment.status == "requires_action":
        raise AuthenticationRequired(next_action=payment.next_action, payment_id=payment.id)
