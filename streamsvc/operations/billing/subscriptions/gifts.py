"""Gift subscriptions: a plan for a number of periods, started or extended by redeeming a gift code."""

from datetime import datetime

from streamsvc.models import Account
from streamsvc.models.subscriptions import GiftCode, Price, Subscription
from streamsvc.operations.billing.core import debts, sources
from streamsvc.operations.billing.core.aggregate import SubscriptionAggregate, list_waiting_invoices, load_locked
from streamsvc.operations.billing.core.credit import (
    apply_new_credit,
    find_redeemable_gift,
    list_accepted_currencies,
    redeem_for_credit,
)
from streamsvc.operations.billing.subscriptions.subscribe import replace_abandoned_start
from streamsvc.rules.billing import facts as fact
from streamsvc.rules.billing.calendar import civil_day
from streamsvc.rules.billing.gifts import can_extend, gift_end
from streamsvc.rules.refusals.billing import GiftCodeInvalid, GiftNotSoldHere
from streamsvc.storage.database import db, new_id


def redeem_gift(account: Account, code: str, now: datetime) -> GiftCode:
    """Redeem a gift code for the locked account: for credit, a new subscription, or more days of the current one.

    A gift subscription that cannot extend the current subscription is redeemed for its value. Raises GiftCodeInvalid,
    GiftCodeCurrencyMismatch, GiftNotSoldHere, AlreadySubscribed, PaymentInProgress, PaymentOverdue.
    """
    gift = find_redeemable_gift(code, now)
    price = Price.get_price(gift.price_id) if gift.price_id else None
    live = Subscription.find_live(account.id)
    if price and (live is None or live.status == "incomplete"):
        _start_subscription(account, gift, price, now)
    elif price and live and (aggregate := _find_extendable(live, price, now)):
        _extend_subscription(aggregate, gift, price)
    else:
        redeem_for_credit(account, gift, now, list_accepted_currencies(account))
        apply_new_credit(account, gift.currency, now)
    return gift


def _start_subscription(account: Account, gift: GiftCode, price: Price, now: datetime) -> None:
    """Start a subscription that the gift pays for, and that ends with it unless its owner undoes the cancellation."""
    if price.countries is not None and account.country not in price.countries:
        raise GiftNotSoldHere
    replace_abandoned_start(account, now)
    sources.require_room(account, now)
    today = civil_day(now, account.time_zone)
    debts.require_no_overdue_debts(account.id, today)
    subscription = Subscription(
        id=new_id("sub"),
        account_id=account.id,
        plan_id=price.plan_id,
        price_id=price.id,
        status="active",
        currency=price.currency,
        time_zone=account.time_zone,
        started_on=today,
        created_at=now,
    )
    db.session.add(subscription)
    db.session.flush()
    aggregate = load_locked(subscription.id, now)
    end = gift_end(today, _periods(gift), price.terms)
    aggregate.record_event(fact.Gifted, price.terms, today, end, actor=account.id)
    aggregate.record_event(fact.EndScheduled, None, False, actor=account.id)
    _mark_redeemed(gift, aggregate)


def _find_extendable(subscription: Subscription, price: Price, now: datetime) -> SubscriptionAggregate | None:
    """Load the live subscription if a gift of the price can extend it."""
    if subscription.status != "active" or subscription.billing_held_at or list_waiting_invoices(subscription):
        return None
    aggregate = load_locked(subscription.id, now)
    return aggregate if can_extend(aggregate.timeline, price.id) else None


def _extend_subscription(aggregate: SubscriptionAggregate, gift: GiftCode, price: Price) -> None:
    timeline = aggregate.timeline
    anchor = (timeline.anchor_day, timeline.anchor_month)
    end = gift_end(timeline.paid_end, _periods(gift), price.terms, anchor)
    aggregate.record_event(fact.GiftAdded, end, actor=aggregate.account.id)
    _mark_redeemed(gift, aggregate)


def _periods(gift: GiftCode) -> int:
    assert gift.periods is not None, "a gift of a price has periods"
    return gift.periods


def _mark_redeemed(gift: GiftCode, aggregate: SubscriptionAggregate) -> None:
    """Save the subscription and mark the code as used. Raises GiftCodeInvalid if another account was faster."""
    if not GiftCode.redeem(gift.id, aggregate.account.id, aggregate.now):
        raise GiftCodeInvalid(reason="redeemed")
    db.session.refresh(gift)
    gift.subscription_id = aggregate.subscription.id
    aggregate.save_projection()
