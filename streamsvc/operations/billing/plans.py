"""Plans and prices: a plan is replaced as a whole; a price whose terms change is retired and replaced, never edited."""

from datetime import datetime

from streamsvc.models.subscriptions import Plan, Price
from streamsvc.storage.database import db, new_id

PRICE_TERMS = ("currency", "amount_minor", "interval", "interval_count", "trial_days", "tax", "countries")


def replace_plan(code: str, body: dict, now: datetime) -> Plan:
    """Create or replace a plan. Prices with unchanged terms stay; others are retired or added."""
    plan = Plan.find_by_code(code)
    if plan is None:
        plan = Plan(id=new_id("pln"), code=code, created_at=now)
        db.session.add(plan)
    description_values = {name: body[name] for name in ("name", "description", "addon", "features")}
    if any(getattr(plan, name, None) != value for name, value in description_values.items()):
        for name, value in description_values.items():
            setattr(plan, name, value)
        plan.updated_at = now
    db.session.flush()
    on_sale = {price_terms(price): price for price in plan.prices}
    requested = {requested_terms(price): price for price in body["prices"]}
    for terms, price in on_sale.items():
        if terms not in requested:
            price.retired_at = now
    for terms, price in requested.items():
        if terms not in on_sale:
            db.session.add(build_price(plan, price, now))
    db.session.flush()
    db.session.expire(plan, ["prices"])
    return plan


def price_terms(price: Price) -> tuple:
    """Return the terms of a stored price, comparable with `requested_terms`."""
    terms = {name: getattr(price, name) for name in PRICE_TERMS}
    return requested_terms({**terms, "intro": price.intro})


def requested_terms(price: dict) -> tuple:
    """Return the terms of a price in a request body."""
    intro = price["intro"] and (price["intro"]["amount_minor"], price["intro"]["periods"])
    countries = price["countries"] and tuple(sorted(set(price["countries"])))
    return (*(price[name] for name in PRICE_TERMS[:-1]), countries, intro)


def build_price(plan: Plan, terms_body: dict, now: datetime) -> Price:
    """Build a price of the plan with the terms from a request body."""
    terms = {name: terms_body[name] for name in PRICE_TERMS[:-1]}
    terms["countries"] = terms_body["countries"] and sorted(set(terms_body["countries"]))
    if terms_body["intro"]:
        terms |= {
            "intro_amount_minor": terms_body["intro"]["amount_minor"],
            "intro_periods": terms_body["intro"]["periods"],
        }
    return Price(id=new_id("pri"), plan_id=plan.id, created_at=now, **terms)
