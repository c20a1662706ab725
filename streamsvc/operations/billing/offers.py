"""Coupons and gift codes, as operators make them."""

import secrets
from datetime import datetime

from streamsvc.database import db, new_id
from streamsvc.models.subscriptions import Coupon, GiftCode
from streamsvc.rules.refusals import Invalid

LETTERS = "BCDFGHJKLMNPQRSTVWXZ23456789"
CODE_LETTERS = 16


def put_coupon(code: str, asked: dict, now: datetime) -> Coupon:
    """Make the coupon, or change how often and how long it can be redeemed; what it takes off never changes."""
    terms = {name: asked[name] for name in ("percent_ppm", "amount_off_minor", "currency", "duration", "periods")}
    limits = {name: asked[name] for name in ("max_redemptions", "expires_at")}
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
