"""Coupons and gift codes: creation and updates by operators."""

import secrets
from datetime import datetime
from typing import Literal, get_args

import sqlalchemy as sa

from streamsvc.models.subscriptions import Coupon, GiftCode, Plan, Price
from streamsvc.rules.billing.inputs import CouponInput, GiftCodesInput
from streamsvc.rules.refusals.requests import Invalid
from streamsvc.storage.database import db, new_id

CODE_ALPHABET = "BCDFGHJKLMNPQRSTVWXZ23456789"
GIFT_CODE_LENGTH = 16
CouponTerm = Literal["percent_ppm", "amount_off_minor", "currency", "duration", "periods", "plans"]
CouponLimit = Literal["audience", "combines", "max_per_account", "max_redemptions", "expires_at"]
COUPON_TERMS: tuple[CouponTerm, ...] = get_args(CouponTerm)
COUPON_LIMITS: tuple[CouponLimit, ...] = get_args(CouponLimit)


def replace_coupon(code: str, body: CouponInput, now: datetime) -> Coupon:
    """Create the coupon, or update who can redeem it and for how long. Its discount terms never change.

    Raises Invalid.
    """
    if unknown := set(body["plans"] or ()) - set(db.session.scalars(sa.select(Plan.code))):
        raise Invalid(errors={"plans": [f"No such plan: {', '.join(sorted(unknown))}."]})
    terms = {name: body[name] for name in COUPON_TERMS}
    limits = {name: body[name] for name in COUPON_LIMITS}
    coupon = Coupon.find_by_code(code)
    if coupon is None:
        coupon = Coupon(id=new_id("cou"), code=code, created_at=now, redeemed=0, **terms)
        db.session.add(coupon)
    elif any(getattr(coupon, name) != value for name, value in terms.items()):
        raise Invalid(errors={"code": ["The terms of a coupon cannot be changed; create a coupon with another code."]})
    for name, value in limits.items():
        setattr(coupon, name, value)
    db.session.flush()
    return coupon


def create_gift_codes(body: GiftCodesInput, now: datetime) -> list[GiftCode]:
    """Create `quantity` gift codes, or a single one with a custom `code`, of an amount or of periods of a price.

    Raises Invalid if that code exists, or the price is not on sale, of an add-on or free of charge.
    """
    currency, amount_minor = _gift_value(body)
    codes = [body["code"]] if body["code"] else [generate_gift_code() for _ in range(body["quantity"])]
    if body["code"] and GiftCode.find_by_code(body["code"]):
        raise Invalid(errors={"code": ["This gift code already exists."]})
    gifts = [
        GiftCode(
            id=new_id("gif"),
            code=code,
            currency=currency,
            amount_minor=amount_minor,
            price_id=body["price_id"],
            periods=body["periods"],
            expires_at=body["expires_at"],
            created_at=now,
        )
        for code in codes
    ]
    db.session.add_all(gifts)
    db.session.flush()
    return gifts


def _gift_value(body: GiftCodesInput) -> tuple[str, int]:
    """Return the currency and the amount that a gift code is worth as account credit. Raises Invalid."""
    if body["price_id"] is None:
        assert body["currency"] and body["amount_minor"], "the schema requires them without a price"
        return body["currency"], body["amount_minor"]
    price = db.session.get(Price, body["price_id"])
    if price is None or price.retired_at or price.plan.addon or price.amount_minor == 0:
        raise Invalid(errors={"price_id": ["Must be a price on sale, of a plan that is sold alone and not free."]})
    assert body["periods"], "the schema requires them with a price"
    return price.currency, price.amount_minor * body["periods"]


def generate_gift_code() -> str:
    """Generate a random gift code such as `7CSW-99SN-7DVT-3X64`."""
    letters = [secrets.choice(CODE_ALPHABET) for _ in range(GIFT_CODE_LENGTH)]
    return "-".join("".join(letters[i : i + 4]) for i in range(0, GIFT_CODE_LENGTH, 4))
