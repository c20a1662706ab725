"""Coupons and gift codes, as operators make them."""

import secrets
from datetime import datetime

import sqlalchemy as sa

from streamsvc.models.subscriptions import Coupon, GiftCode, Plan
from streamsvc.rules.refusals.requests import Invalid
from streamsvc.storage.database import db, new_id

CODE_ALPHABET = "BCDFGHJKLMNPQRSTVWXZ23456789"
GIFT_CODE_LENGTH = 16
COUPON_TERMS = ("percent_ppm", "amount_off_minor", "currency", "duration", "periods", "plans")
COUPON_LIMITS = ("audience", "combines", "max_per_account", "max_redemptions", "expires_at")


def replace_coupon(code: str, body: dict, now: datetime) -> Coupon:
    """Make the coupon, or change who can redeem it and how long; what it takes off never changes. Raises Invalid."""
    if strangers := set(body["plans"] or ()) - set(db.session.scalars(sa.select(Plan.code))):
        raise Invalid(errors={"plans": [f"There is no such plan: {', '.join(sorted(strangers))}."]})
    terms = {name: body[name] for name in COUPON_TERMS}
    limits = {name: body[name] for name in COUPON_LIMITS}
    coupon = Coupon.by_code(code)
    if coupon is None:
        coupon = Coupon(id=new_id("cou"), code=code, created_at=now, redeemed=0, **terms)
        db.session.add(coupon)
    elif any(getattr(coupon, name) != value for name, value in terms.items()):
        raise Invalid(errors={"code": ["A coupon keeps its terms; make one with another code."]})
    for name, value in limits.items():
        setattr(coupon, name, value)
    db.session.flush()
    return coupon


def create_gift_codes(body: dict, now: datetime) -> list[GiftCode]:
    """As many gift codes as asked, or one under a code of the operator's own."""
    codes = [body["code"]] if body["code"] else [_generate_gift_code() for _ in range(body["quantity"])]
    if body["code"] and GiftCode.by_code(body["code"]):
        raise Invalid(errors={"code": ["There is such a gift code."]})
    terms = {name: body[name] for name in ("currency", "amount_minor", "expires_at")}
    gifts = [GiftCode(id=new_id("gif"), code=code, created_at=now, **terms) for code in codes]
    db.session.add_all(gifts)
    db.session.flush()
    return gifts


def _generate_gift_code() -> str:
    letters = [secrets.choice(CODE_ALPHABET) for _ in range(GIFT_CODE_LENGTH)]
    return "-".join("".join(letters[i : i + 4]) for i in range(0, GIFT_CODE_LENGTH, 4))
