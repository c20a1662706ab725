"""Starting a subscription: price, trial, coupons, gift code, referral, first invoice, and first payment."""

from datetime import date, datetime

import sqlalchemy as sa

from streamsvc.gateways.payments import current_provider
from streamsvc.models import Account
from streamsvc.models.subscriptions import Invoice, Payment, PaymentMethod, Price, Subscription
from streamsvc.operations.billing.core import (
    charging,
    debts,
    due_payments,
    households,
    payment_limits,
    referrals,
    sources,
    voiding,
)
from streamsvc.operations.billing.core.aggregate import SubscriptionAggregate, load_locked, start_aggregate
from streamsvc.operations.billing.core.credit import find_redeemable_gift, redeem_for_credit
from streamsvc.operations.billing.subscriptions import coupons
from streamsvc.operations.billing.subscriptions.addon_orders import (
    check_addon_end,
    get_addon_prices,
    record_addon,
    requested_addons,
)
from streamsvc.operations.billing.subscriptions.first_payment import (
    get_requested_method,
    require_card_for_trial,
    require_started,
)
from streamsvc.rules.billing import facts as fact
from streamsvc.rules.billing.calendar import civil_day
from streamsvc.rules.billing.inputs import SubscriptionInput
from streamsvc.rules.refusals.accounts import AccountNotActive
from streamsvc.rules.refusals.billing import AlreadySubscribed, GiftCodeInvalid, PaymentFailed, PaymentInProgress
from streamsvc.rules.refusals.requests import Invalid
from streamsvc.rules.sign_in.sessions import hash_token
from streamsvc.storage.database import db, lock_existing_row, new_id
from streamsvc.storage.unit_of_work import with_defaults

MANUAL = "manual"
"""The source of a subscription that an operator started."""


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
    today = civil_day(now, account.time_zone)
    replace_abandoned_start(account, now)
    stores = sources.require_room(account, now)
    debts.require_no_overdue_debts(account.id, today)
    price = get_base_price(body["price_id"], account.country)
    method = get_requested_method(account, body["payment_method_id"])
    start = body["start_date"] or (None if paid_through else sources.find_following_start(stores, account.time_zone))
    if start and start > today and stores and method is None and payment_method_required:
        raise PaymentFailed(decline_code=payment_limits.PAYMENT_METHOD_REQUIRED)
    subscription = insert_subscription(account, body, price, method, start or today, actor, request_key, now)
    addons = requested_addons(body)
    addon_prices = get_addon_prices(account, price, [addon["price_id"] for addon in addons])
    redeem_offers(account, subscription, body, [addon_price.plan.code for addon_price in addon_prices], now)
    has_trial = not paid_through and households.can_start_trial(account, subscription.device_hash)
    trial_days = price.trial_days if has_trial else 0
    if trial_days and payment_method_required:
        require_card_for_trial(method)
    aggregate = start_aggregate(account, subscription, now)
    record_start(aggregate, price, body, trial_days, paid_through, actor)
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


def get_base_price(price_id: str, country: str) -> Price:
    """Return a price of a plan that is sold by itself. Raises Invalid."""
    price = Price.find_on_sale(price_id, country)
    if price is None:
        raise Invalid(errors={"price_id": ["No such price is on sale in the account's country."]})
    require_base_plan(price, "price_id")
    return price


def insert_subscription(
    account: Account,
    body: SubscriptionInput,
    price: Price,
    method: PaymentMethod | None,
    started_on: date,
    actor: str,
    request_key: str | None,
    now: datetime,
) -> Subscription:
    """Insert a subscription for which nothing is paid yet."""
    subscription = with_defaults(
        Subscription(
            id=new_id("sub"),
            account_id=account.id,
            plan_id=price.plan_id,
            price_id=price.id,
            status="incomplete",
            currency=price.currency,
            time_zone=account.time_zone,
            payment_method_id=method.id if method and body["payment_method_id"] else None,
            started_on=started_on,
            source=current_provider().name if actor == account.id else MANUAL,
            device_hash=hash_device_fingerprint(body["device_fingerprint"]),
            request_key=request_key,
            created_at=now,
        )
    )
    db.session.add(subscription)
    db.session.flush()
    return subscription


def redeem_offers(
    account: Account, subscription: Subscription, body: SubscriptionInput, addon_codes: list[str], now: datetime
) -> None:
    """Redeem the gift code, the coupons and the referral code of a start. Raises the error of each that is invalid."""
    if body["gift_code"]:
        gift = find_redeemable_gift(body["gift_code"], now)
        if gift.price_id:
            detail = "This gift is a subscription of its own; redeem it instead of subscribing."
            raise GiftCodeInvalid(detail=detail, reason="for_a_plan")
        redeem_for_credit(account, gift, now, [subscription.currency])
    coupons.redeem_coupons(subscription, requested_coupon_codes(body), addon_codes, now)
    if body["referral_code"]:
        referrals.create_referral(subscription, body["referral_code"], now)


def record_start(
    aggregate: SubscriptionAggregate,
    price: Price,
    body: SubscriptionInput,
    trial_days: int,
    paid_through: date | None,
    actor: str,
) -> None:
    """Record the start, or the import of what is paid for elsewhere. Raises Invalid for an anchor that does not fit."""
    check_anchor(price, body["anchor_day"], body["anchor_month"])
    start, anchor = aggregate.subscription.started_on, (body["anchor_day"], body["anchor_month"])
    terms, has_intro = households.agreed_terms(aggregate, price)
    if paid_through:
        aggregate.record_event(fact.Imported, terms, start, paid_through, *anchor, True, has_intro, actor=actor)
    else:
        details = (terms, start, anchor[0], trial_days, anchor[1], has_intro)
        aggregate.record_event(fact.Started, *details, actor=actor)


def requested_coupon_codes(body: SubscriptionInput) -> list[str]:
    """Return the requested coupon codes in order: `coupon`, then `coupons`."""
    return [code for code in (body["coupon"], *body["coupons"]) if code]


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


def check_anchor(price: Price, day: int | None, month: int | None) -> None:
    """Raise Invalid if an anchor day or month is given that the price cannot have, or a month without a day."""
    if day and price.terms.interval.months == 0:
        raise Invalid(errors={"anchor_day": ["Only prices billed by the month or year have an anchor day."]})
    if month and not price.terms.interval.is_whole_years:
        raise Invalid(errors={"anchor_month": ["Only prices billed by the year have an anchor month."]})
    if month and not day:
        raise Invalid(errors={"anchor_month": ["Must be given together with anchor_day."]})


def hash_device_fingerprint(device_fingerprint: str | None) -> str | None:
    """Hash the app's device fingerprint: only the hash is stored, which is enough to recognize the device."""
    return device_fingerprint and hash_token(f"device:{device_fingerprint}")
