"""What is sold: a plan is put whole; a price whose terms changed is superseded by a new one, never edited."""

from datetime import datetime

from streamsvc.models.subscriptions import Plan, Price
from streamsvc.storage.database import db, new_id

PRICE_TERMS = ("currency", "amount_minor", "interval", "interval_count", "trial_days", "tax", "countries")


def replace_plan(code: str, body: dict, now: datetime) -> Plan:
    """Make the plan as asked: prices with the same terms stay, others are retired or added."""
    plan = Plan.by_code(code)
    if plan is None:
        plan = Plan(id=new_id("pln"), code=code, created_at=now)
        db.session.add(plan)
    shown = {name: body[name] for name in ("name", "description", "features")}
    if any(getattr(plan, name, None) != value for name, value in shown.items()):
        for name, value in shown.items():
            setattr(plan, name, value)
        plan.updated_at = now
    db.session.flush()
    on_sale = {price_terms(price): price for price in plan.prices}
    wanted = {requested_terms(price): price for price in body["prices"]}
    for terms, price in on_sale.items():
        if terms not in wanted:
            price.retired_at = now
    for terms, price in wanted.items():
        if terms not in on_sale:
            db.session.add(build_price(plan, price, now))
    db.session.flush()
    db.session.expire(plan, ["prices"])
    return plan


def price_terms(price: Price) -> tuple:
    terms = {name: getattr(price, name) for name in PRICE_TERMS}
    return requested_terms({**terms, "intro": price.intro})


def requested_terms(price: dict) -> tuple:
    intro = price["intro"] and (price["intro"]["amount_minor"], price["intro"]["periods"])
    countries = price["countries"] and tuple(sorted(set(price["countries"])))
    return (*(price[name] for name in PRICE_TERMS[:-1]), countries, intro)


def build_price(plan: Plan, terms_body: dict, now: datetime) -> Price:
    terms = {name: terms_body[name] for name in PRICE_TERMS[:-1]}
    terms["countries"] = terms_body["countries"] and sorted(set(terms_body["countries"]))
    if terms_body["intro"]:
        terms |= {
            "intro_amount_minor": terms_body["intro"]["amount_minor"],
            "intro_periods": terms_body["intro"]["periods"],
        }
    return Price(id=new_id("pri"), plan_id=plan.id, created_at=now, **terms)
