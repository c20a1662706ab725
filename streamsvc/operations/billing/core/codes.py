"""Coupons and gift codes, as operators make them."""

import secrets
from datetime import datetime

import sqlalchemy as sa

from streamsvc.models.subscriptions import Coupon, GiftCode, Plan
from streamsvc.rules.refusals.requests import Invalid
from streamsvc.storage.database import db, new_id

LETTERS = "BCDFGHJKLMNPQRSTVWXZ23456789"
CODE_LETTERS = 16
TERMS = ("percent_ppm", "amount_off_minor", "currency", "duration", "periods", "plans")
LIMITS = ("audience", "combines", "max_per_account", "max_redemptions", "expires_at")


def put_coupon(code: str, asked: dict, now: datetime) -> Coupon:
    """Make the coupon, or change who can redeem it and how long; what it takes off never changes. Raises Invalid."""
    if strangers := set(asked["plans"] or ()) - set(db.session.scalars(sa.select(Plan.code))):
        raise Invalid(errors={"plans": [f"There is no such plan: {', '.join(sorted(strangers))}."]})
    terms = {name: asked[name] for name in TERMS}
    limits = {name: asked[name] for name in LIMITS}
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


def make_gifts(asked: dict, now: datetime) -> list[GiftCode]:
    """As many gift codes as asked, or one under a code of the operator's own."""
    codes = [asked["code"]] if asked["code"] else [_code() for _ in range(asked["quantity"])]
    if asked["code"] and GiftCode.by_code(asked["code"]):
        raise Invalid(errors={"code": ["There is such a gift code."]})
    terms = {name: asked[name] for name in ("currency", "amount_minor", "expires_at")}
    gifts = [GiftCode(id=new_id("gif"), code=code, created_at=now, **terms) for code in codes]
    db.session.add_all(gifts)
    db.session.flush()
    return gifts


def _code() -> str:
    letters = [secrets.choice(LETTERS) for _ in range(CODE_LETTERS)]
    return "-".join("".join(letters[i : i + 4]) for i in range(0, CODE_LETTERS, 4))
