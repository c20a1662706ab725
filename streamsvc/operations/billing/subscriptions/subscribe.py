"""Starting a subscription: price, trial, coupons, gift code, referral, first invoice, and first payment."""

from collections.abc import Iterable, Sequence
from datetime import date, datetime

import sqlalchemy as sa

from streamsvc.models import Account
from streamsvc.models.subscriptions import (
    Invoice,
    Payment,
    PaymentMethod,
    Plan,
    Price,
    Subscription,
)
from streamsvc.operations.billing.core import (
    charging,
    debts,
    due_payments,
    households,
    payment_limits,
    payment_outcomes,
    referrals,
    voiding,
)
from streamsvc.operations.billing.core.aggregate import SubscriptionAggregate, load_locked
from streamsvc.operations.billing.core.credit import find_redeemable_gift, redeem_for_credit
from streamsvc.operations.billing.subscriptions import coupons
from streamsvc.rules.billing import facts as fact
from streamsvc.rules.billing.calendar import civil_day
from streamsvc.rules.billing.inputs import AddonInput, SubscriptionInput
from streamsvc.rules.billing.trials import may_start_trial
from streamsvc.rules.refusals.accounts import AccountNotActive
from streamsvc.rules.refusals.billing import (
    AlreadySubscribed,
    AuthenticationRequired,
    GiftCodeInvalid,
    PaymentFailed,
    PaymentInProgress,
    PaymentMethodRequired,
)
from streamsvc.rules.refusals.requests import Invalid
from streamsvc.rules.sign_in.sessions import hash_token
from streamsvc.settings import current_settings
from streamsvc.storage.database import db, lock_existing_row, new_id


def subscribe_account(
    account_id: str,
    body: SubscriptionInput,
    now: datetime,
    actor: str,
    request_key: str | None,
    paid_through: date | None = None,
) -> Subscription:
    """Start a subscription and return it once its first payment has succeeded. Commits.

    `request_key`: identifies the request; a retry under the same key returns the subscription that it started.
    `paid_through`: the day up to which the customer has paid elsewhere.
    Raises AccountNotActive, AlreadySubscribed, CouponInvalid, GiftCodeInvalid, GiftCodeCurrencyMismatch,
    ReferralCodeInvalid, Invalid, PaymentFailed, PaymentMethodRequired, PaymentOverdue, AuthenticationRequired,
    PaymentInProgress.
    """
    charging.refresh_waiting_payments(account_id, now)
    account = lock_existing_row(Account, account_id)
    started = request_key and db.session.scalar(sa.select(Subscription).where(Subscription.request_key == request_key))
    if started:  # an earlier request was interrupted before it could respond
        return require_started(started.id)
    if account.status != "active":  # perhaps closed since the request was authenticated
        raise AccountNotActive(detail="Only an active account can subscribe.")
    aggregate = start_subscription(account, body, now, actor, request_key, paid_through=paid_through)
    payments = (
        due_payments.create_due_payments(aggregate, on_session=True)
        if aggregate.subscription.status == "incomplete"
        else []
    )
    aggregate.save_projection()
    db.session.commit()
    for payment in payments:
        charging.send_payment(payment.id)
    return require_started(aggregate.subscription.id)


def start_subscription(
    account: Account,
    body: SubscriptionInput,
    now: datetime,
    actor: str,
    request_key: str | None = None,
    payment_method_required: bool = True,
    paid_through: date | None = None,
) -> SubscriptionAggregate:
    """Do everything up to the first payment; nothing is committed.

    `payment_method_required`: raise PaymentFailed if something is owed and there is no payment method, and
    PaymentMethodRequired if a trial needs one that is set up.
    `paid_through`: the day up to which the customer has paid elsewhere.
    """
    replace_abandoned_start(account, now)
    debts.require_no_overdue_debts(account.id, civil_day(now, account.time_zone))
    price = Price.find_on_sale(body["price_id"], account.country)
    if price is None:
        raise Invalid(errors={"price_id": ["No such price is on sale in the account's country."]})
    require_base_plan(price, "price_id")
    method = get_requested_method(account, body["payment_method_id"])
    today = civil_day(now, account.time_zone)
    subscription = Subscription(
        id=new_id("sub"),
        account_id=account.id,
        plan_id=price.plan_id,
        price_id=price.id,
        status="incomplete",
        currency=price.currency,
        time_zone=account.time_zone,
        payment_method_id=method.id if method and body["payment_method_id"] else None,
        started_on=body["start_date"] or today,
        device_hash=hash_device_fingerprint(body["device_fingerprint"]),
        request_key=request_key,
        created_at=now,
    )
    db.session.add(subscription)
    db.session.flush()
    if body["gift_code"]:
        gift = find_redeemable_gift(body["gift_code"], now)
        if gift.price_id:
            detail = "This gift is a subscription of its own; redeem it instead of subscribing."
            raise GiftCodeInvalid(detail=detail, reason="for_a_plan")
        redeem_for_credit(account, gift, now, [price.currency])
    addons = requested_addons(body)
    addon_prices = get_addon_prices(account, price, [addon["price_id"] for addon in addons])
    addon_codes = [addon_price.plan.code for addon_price in addon_prices]
    coupons.redeem_coupons(subscription, requested_coupon_codes(body), addon_codes, now)
    if body["referral_code"]:
        referrals.create_referral(subscription, body["referral_code"], now)
    trial_days = price.trial_days if households.can_start_trial(account, subscription.device_hash) else 0
    if trial_days and payment_method_required and not paid_through:
        require_card_for_trial(method)
    aggregate = load_locked(subscription.id, now)
    check_anchor(price, body["anchor_day"], body["anchor_month"])
    start, anchor = subscription.started_on, (body["anchor_day"], body["anchor_month"])
    terms, has_intro = households.agreed_terms(aggregate, price)
    if paid_through:
        aggregate.record_event(fact.Imported, terms, start, paid_through, *anchor, True, has_intro, actor=actor)
    else:
        details = (terms, start, anchor[0], trial_days, anchor[1], has_intro)
        aggregate.record_event(fact.Started, *details, actor=actor)
    for addon, addon_price in zip(addons, addon_prices, strict=True):
        check_addon_end(addon["ends_at"], max(today, subscription.started_on), "addon_items")
        record_addon(aggregate, addon_price, addon["quantity"], addon["ends_at"], actor)
    aggregate.create_due_invoices("start", requires_payment=True)
    open_invoices = [invoice for invoice in Invoice.list_open(account.id) if invoice.subscription_id == subscription.id]
    if open_invoices and method is None and payment_method_required:
        raise PaymentFailed(decline_code=payment_limits.PAYMENT_METHOD_REQUIRED)
    if not open_invoices and subscription.started_on <= today:
        subscription.status = "active"
    return aggregate


def requested_coupon_codes(body: SubscriptionInput) -> list[str]:
    """Return the requested coupon codes in order: `coupon`, then `coupons`."""
    return [code for code in (body["coupon"], *body["coupons"]) if code]


def requested_addons(body: SubscriptionInput) -> list[AddonInput]:
    """Return the requested add-ons in order: `addons`, then `addon_items`."""
    single_units: list[AddonInput] = [
        {"price_id": price_id, "quantity": 1, "ends_at": None} for price_id in body["addons"]
    ]
    return [*single_units, *body["addon_items"]]


def check_addon_end(ends_at: date | None, today: date, field: str) -> None:
    """Raise Invalid for `field` unless the add-on's end, if it has one, is after today."""
    if ends_at and ends_at <= today:
        raise Invalid(errors={field: ["The end of an add-on must be after its first day."]})


def record_addon(
    aggregate: SubscriptionAggregate, price: Price, quantity: int, ends_at: date | None, actor: str
) -> None:
    """Record that an add-on is added, with its trial if the household has not had it yet."""
    code, has_trial = price.plan.code, price.trial_days and households.can_start_addon_trial(aggregate, price.plan.code)
    trial_days = price.trial_days if has_trial else 0
    terms, has_intro = households.agreed_terms(aggregate, price)
    details = (code, terms, quantity, trial_days, ends_at, has_intro)
    aggregate.record_event(fact.AddonAdded, *details, actor=actor)


def replace_abandoned_start(account: Account, now: datetime) -> None:
    """Raise AlreadySubscribed if the account has a live subscription, except for a start awaiting authentication.

    Such a start is canceled to make way for the new one. Raises PaymentInProgress if its payment is in flight.
    """
    subscription = Subscription.find_live(account.id)
    if subscription is None:
        return
    is_waiting = subscription.status == "incomplete" and db.session.scalar(
        sa.select(sa.func.count()).where(
            Payment.status == "requires_action",
            Payment.invoice_id == Invoice.id,
            Invoice.subscription_id == subscription.id,
        )
    )
    if not is_waiting:
        raise AlreadySubscribed
    cancel_abandoned_start(load_locked(subscription.id, now))


def cancel_abandoned_start(aggregate: SubscriptionAggregate) -> None:
    """Cancel a start whose payment was never authenticated. Raises PaymentInProgress if a payment is in flight."""
    payments = [
        payment
        for invoice in Invoice.list_open_for_subscription(aggregate.subscription.id)
        for payment in invoice.payments
    ]
    if any(payment.is_in_flight and payment.status != "requires_action" for payment in payments):
        raise PaymentInProgress
    for payment in payments:
        if payment.status == "requires_action":
            voiding.abandon_payment(payment, aggregate.now)
    voiding.cancel_unpaid_start(aggregate, "abandoned")
    aggregate.save_projection()


def require_base_plan(price: Price, field: str) -> None:
    """Raise Invalid for `field` if the price's plan is sold only as an add-on."""
    if price.plan.addon:
        raise Invalid(errors={field: ["This price is of an add-on, which is sold only together with another plan."]})


def get_addon_prices(account: Account, base_price: Price, price_ids: Sequence[str]) -> list[Price]:
    """Return the add-on prices. They must share the base price's currency and interval, each for a different plan.

    The base plan must not include any of them, and each must be sold with it. Raises Invalid.
    """
    prices = [price for price_id in price_ids if (price := Price.find_on_sale(price_id, account.country))]
    terms = (base_price.currency, base_price.terms.interval)
    is_fitting = len(prices) == len(price_ids) and all(
        (price.currency, price.terms.interval) == terms for price in prices
    )
    if not is_fitting or len({price.plan_id for price in [base_price, *prices]}) <= len(prices):
        raise Invalid(
            errors={"addons": ["Must be prices of other plans with the currency and interval of the base price."]}
        )
    base = base_price.plan
    if included := [price.plan.code for price in prices if price.plan.code in base.includes]:
        raise Invalid(errors={"addons": [f"The plan already includes: {', '.join(included)}."]})
    if unfitting := list_unfitting_addons(base, [price.plan for price in prices]):
        raise Invalid(errors={"addons": [f"Not sold with this plan: {', '.join(unfitting)}."]})
    return prices


def list_unfitting_addons(base: Plan, addons: Iterable[Plan]) -> list[str]:
    """List the codes of the add-ons that are not sold with the base plan."""
    return sorted(addon.code for addon in addons if addon.sold_with and base.code not in addon.sold_with)


def check_anchor(price: Price, day: int | None, month: int | None) -> None:
    """Raise Invalid if an anchor day or month is given that the price cannot have, or a month without a day."""
    if day and price.terms.interval.months == 0:
        raise Invalid(errors={"anchor_day": ["Only prices billed by the month or year have an anchor day."]})
    if month and not price.terms.interval.is_whole_years:
        raise Invalid(errors={"anchor_month": ["Only prices billed by the year have an anchor month."]})
    if month and not day:
        raise Invalid(errors={"anchor_month": ["Must be given together with anchor_day."]})


def get_requested_method(account: Account, method_id: str | None) -> PaymentMethod | None:
    """Return the account's payment method with this id, or its default if `method_id` is None. Raises Invalid."""
    if method_id is None:
        return PaymentMethod.find_default(account.id)
    method = PaymentMethod.find_owned(account.id, method_id)
    if method is None:
        raise Invalid(errors={"payment_method_id": ["No such payment method."]})
    return method


def require_card_for_trial(method: PaymentMethod | None) -> None:
    """Raise PaymentMethodRequired if a trial needs a card that is set up and `method` is none."""
    is_set_up = method is not None and method.set_up_at is not None
    if not may_start_trial(current_settings().trial_without_card, is_set_up):
        raise PaymentMethodRequired


def hash_device_fingerprint(device_fingerprint: str | None) -> str | None:
    """Hash the app's device fingerprint: only the hash is stored, which is enough to recognize the device."""
    return device_fingerprint and hash_token(f"device:{device_fingerprint}")


def require_started(subscription_id: str) -> Subscription:
    """Return the subscription if its start was paid for. Raises PaymentFailed, AuthenticationRequired."""
    subscription = db.session.get_one(Subscription, subscription_id, populate_existing=True)
    if subscription.status == "canceled" or subscription.status == "incomplete":
        raise_if_not_paid(find_last_payment(subscription_id))
    return subscription


def find_last_payment(subscription_id: str) -> Payment | None:
    """Find the subscription's most recent payment."""
    return db.session.scalar(
        sa.select(Payment)
        .join(Invoice, Invoice.id == Payment.invoice_id)
        .where(Invoice.subscription_id == subscription_id)
        .order_by(Payment.id.desc())
        .limit(1)
    )


def raise_if_not_paid(payment: Payment | None) -> None:
    """Raise PaymentFailed or AuthenticationRequired if the payment failed or awaits authentication.

    A part of what was asked for does not pay for a start or a change, whose invoice is then void.
    """
    if payment and payment.requested_minor and db.session.get_one(Invoice, payment.invoice_id).status == "void":
        raise PaymentFailed(decline_code=payment_outcomes.PARTIALLY_CAPTURED)
    if payment and payment.status == "failed":
        raise PaymentFailed(decline_code=payment.decline_code)
    if payment and payment.status == "requires_action":
        raise AuthenticationRequired(
            next_action=payment.next_action, payment_id=payment.id, invoice_id=payment.invoice_id
        )
