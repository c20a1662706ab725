"""Coupons on a subscription: eligibility, combination, and the order in which they apply."""

from collections.abc import Iterable
from datetime import datetime

import sqlalchemy as sa

from streamsvc.models.subscriptions import Coupon, Discount, Invoice, Plan, Subscription
from streamsvc.operations.billing.core.aggregate import SubscriptionAggregate
from streamsvc.rules.billing.access import LIVE_STATUSES
from streamsvc.rules.billing.facts import BASE_ITEM
from streamsvc.rules.refusals.billing import CouponInvalid, WrongState
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.storage.database import db

MAX_RUNNING_COUPONS = 5


def redeem_coupons(subscription: Subscription, codes: Iterable[str], addon_plans: Iterable[str], now: datetime) -> None:
    """Redeem coupons for the subscription, in the order in which they will apply. Raises CouponInvalid.

    `addon_plans`: the codes of its add-ons' plans.
    """
    plans = {db.session.get_one(Plan, subscription.plan_id).code, *addon_plans}
    for code in codes:
        _redeem_coupon(subscription, code, plans, now)


def _redeem_coupon(subscription: Subscription, code: str, plans: set[str], now: datetime) -> None:
    coupon, running = Coupon.find_by_code(code), Discount.list_active(subscription.id)
    if coupon is None or not coupon.is_usable(now) or not _is_eligible(coupon, subscription, plans):
        raise CouponInvalid
    if len(running) >= MAX_RUNNING_COUPONS or (
        running and not all(combined.combines for combined in list_combined_coupons(coupon, running))
    ):
        raise CouponInvalid(detail="This coupon cannot be combined with the subscription's other coupons.")
    if has_redeemed(coupon, subscription) or not Coupon.redeem(coupon.id):
        raise CouponInvalid
    db.session.add(Discount(subscription_id=subscription.id, coupon_id=coupon.id, created_at=now))
    db.session.flush()


def list_combined_coupons(coupon: Coupon, running: list[Discount]) -> list[Coupon]:
    """List the coupon and those that it would be combined with."""
    return [coupon, *(discount.coupon for discount in running)]


def _is_eligible(coupon: Coupon, subscription: Subscription, plans: set[str]) -> bool:
    """Whether the coupon is meant for the subscription's currency, one of its plans, and its customer."""
    if coupon.currency and coupon.currency != subscription.currency:
        return False
    if coupon.plans is not None and plans.isdisjoint(coupon.plans):
        return False
    if coupon.audience == "anyone":
        return True
    ended_subscription = sa.exists().where(
        Subscription.account_id == subscription.account_id,
        Subscription.id != subscription.id,
        Subscription.status.not_in(LIVE_STATUSES),
        Invoice.subscription_id == Subscription.id,
        Invoice.issued_at.is_not(None),
    )
    is_returning = db.session.scalar(sa.select(ended_subscription))
    is_starting = subscription.status == "incomplete"
    return is_starting and is_returning == (coupon.audience == "returning")


def has_redeemed(coupon: Coupon, subscription: Subscription) -> bool:
    """Return whether the subscription has redeemed the coupon, or its account as often as `max_per_account` allows."""
    redemptions = sa.select(Discount.subscription_id).where(Discount.coupon_id == coupon.id)
    if db.session.scalar(redemptions.where(Discount.subscription_id == subscription.id)):
        return True
    if coupon.max_per_account is None:
        return False
    # excludes a start whose payment failed
    is_used = sa.or_(Discount.ended_at.is_(None), Discount.periods_used > 0, Discount.used_minor > 0)
    by_account = redemptions.join(Subscription).where(Subscription.account_id == subscription.account_id, is_used)
    return len(db.session.scalars(by_account).all()) >= coupon.max_per_account


def add_coupon(aggregate: SubscriptionAggregate, code: str) -> None:
    """Redeem one more coupon; it applies from the next invoice on. Raises CouponInvalid, WrongState."""
    if aggregate.timeline.ended_on or aggregate.subscription.status == "canceled":
        raise WrongState
    redeem_coupons(aggregate.subscription, [code], aggregate.timeline.prices.keys() - {BASE_ITEM}, aggregate.now)


def remove_coupon(aggregate: SubscriptionAggregate, code: str) -> None:
    """Remove a coupon from the subscription. Its redemption stays counted. Raises NotFound."""
    for discount in Discount.list_active(aggregate.subscription.id):
        if discount.coupon.code == code:
            discount.ended_at = discount.removed_at = aggregate.now
            return
    raise NotFound
