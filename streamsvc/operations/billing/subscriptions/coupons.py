"""Coupons on a subscription: who may redeem which, beside what, and in which order they count."""

import sqlalchemy as sa

from streamsvc.models.subscriptions import Coupon, Discount, Invoice, Plan, Subscription
from streamsvc.operations.billing.core.aggregate import SubscriptionAggregate
from streamsvc.rules.billing.access import LIVE
from streamsvc.rules.billing.facts import BASE
from streamsvc.rules.refusals.billing import CouponInvalid, WrongState
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.storage.database import db

MAX_RUNNING_COUPONS = 5


def redeem_coupons(subscription: Subscription, codes, addon_plans, now) -> None:
    """Put coupons on the subscription, in the order in which they will be taken off. Raises CouponInvalid.

    `addons`: the codes of the plans that go along with its own.
    """
    plans = {db.session.get(Plan, subscription.plan_id).code, *addon_plans}
    for code in codes:
        _redeem_coupon(subscription, code, plans, now)


def _redeem_coupon(subscription: Subscription, code: str, plans: set[str], now) -> None:
    coupon, running = Coupon.by_code(code), Discount.running(subscription.id)
    if coupon is None or not coupon.is_usable(now) or not _is_eligible(coupon, subscription, plans):
        raise CouponInvalid
    if len(running) >= MAX_RUNNING_COUPONS or (
        running and not all(one.combines for one in list_combined_coupons(coupon, running))
    ):
        raise CouponInvalid(detail="This coupon does not go together with those the subscription has.")
    if has_redeemed(coupon, subscription) or not Coupon.redeem(coupon.id):
        raise CouponInvalid
    db.session.add(Discount(subscription_id=subscription.id, coupon_id=coupon.id, created_at=now))
    db.session.flush()


def list_combined_coupons(coupon: Coupon, running: list[Discount]) -> list[Coupon]:
    """The coupon and those it would run with."""
    return [coupon, *(one.coupon for one in running)]


def _is_eligible(coupon: Coupon, subscription: Subscription, plans: set[str]) -> bool:
    """Whether currency, one of the plans, and customer are those that it is for."""
    if coupon.currency and coupon.currency != subscription.currency:
        return False
    if coupon.plans is not None and plans.isdisjoint(coupon.plans):
        return False
    if coupon.audience == "anyone":
        return True
    ended = sa.exists().where(
        Subscription.account_id == subscription.account_id,
        Subscription.id != subscription.id,
        Subscription.status.not_in(LIVE),
        Invoice.subscription_id == Subscription.id,
        Invoice.number.is_not(None),
    )
    came_back = db.session.scalar(sa.select(ended))
    begins = subscription.status == "incomplete"
    return begins and came_back == (coupon.audience == "returning")


def has_redeemed(coupon: Coupon, subscription: Subscription) -> bool:
    """Whether this subscription has had the coupon, or its account as often as it may."""
    had_by = sa.select(Discount.subscription_id).where(Discount.coupon_id == coupon.id)
    if db.session.scalar(had_by.where(Discount.subscription_id == subscription.id)):
        return True
    if coupon.max_per_account is None:
        return False
    used = sa.or_(Discount.ended_at.is_(None), Discount.periods_used > 0)  # not those of a start that failed
    mine = had_by.join(Subscription).where(Subscription.account_id == subscription.account_id, used)
    return len(db.session.scalars(mine).all()) >= coupon.max_per_account


def add_coupon(aggregate: SubscriptionAggregate, code: str) -> None:
    """One more coupon on a running subscription: it counts from its next invoice. Raises CouponInvalid, WrongState."""
    if aggregate.timeline.ended_on or aggregate.subscription.status == "canceled":
        raise WrongState
    redeem_coupons(aggregate.subscription, [code], aggregate.timeline.prices.keys() - {BASE}, aggregate.now)


def remove_coupon(aggregate: SubscriptionAggregate, code: str) -> None:
    """Take a coupon off; its redemption stays used. Raises NotFound."""
    for discount in Discount.running(aggregate.subscription.id):
        if discount.coupon.code == code:
            discount.ended_at = aggregate.now
            return
    raise NotFound
