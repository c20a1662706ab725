"""Plans and prices: a plan is replaced as a whole; a price whose terms change is retired and replaced, never edited."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, get_args

import sqlalchemy as sa

from streamsvc.gateways.payments import maximum_charge_minor
from streamsvc.models.subscriptions import Plan, Price, StoreProduct
from streamsvc.rules.billing.inputs import PlanInput, PriceInput, StoreProductInput
from streamsvc.rules.billing.invoicing import STANDARD_CATEGORY
from streamsvc.rules.refusals.requests import Invalid
from streamsvc.storage.database import db, insert, new_id

ScalarTerm = Literal["currency", "amount_minor", "interval", "interval_count", "trial_days", "tax"]
SCALAR_TERMS: tuple[ScalarTerm, ...] = get_args(ScalarTerm)
Description = Literal[
    "name",
    "description",
    "addon",
    "features",
    "addon_features",
    "includes",
    "sold_with",
    "tax_category",
    "store_products",
]
PRODUCT_KEY = ["source", "product_id", "base_plan_id"]
DESCRIPTION: tuple[Description, ...] = get_args(Description)
NEW_PLAN = {
    "addon": False,
    "addon_features": {},
    "includes": [],
    "sold_with": [],
    "tax_category": STANDARD_CATEGORY,
    "store_products": [],
}
"""What a new plan has, and an existing one keeps, where the request leaves it out."""


def replace_plan(code: str, body: PlanInput, now: datetime) -> Plan:
    """Create or replace a plan. Prices with unchanged terms stay; others are retired or added.

    What NEW_PLAN lists stays as it is if it is left out. Raises Invalid.
    """
    _check_codes(code, body)
    _check_amounts(body["prices"])
    plan = Plan.find_by_code(code)
    if plan is None:
        plan = Plan(id=new_id("pln"), code=code, created_at=now)
        db.session.add(plan)
    description_values: dict[str, Any] = {name: body[name] for name in DESCRIPTION}
    for name, default in NEW_PLAN.items():
        if description_values[name] is None:
            kept = getattr(plan, name)
            description_values[name] = default if kept is None else kept
    for name, value in description_values.items():
        setattr(plan, name, value)
    if db.session.is_modified(plan):
        plan.updated_at = now
    db.session.flush()
    if body["store_products"] is not None:
        _replace_store_products(plan, body["store_products"])
    on_sale = {price_terms(price): price for price in plan.prices}
    requested = {requested_terms(price): price for price in body["prices"]}
    for terms, price in on_sale.items():
        if terms not in requested:
            price.retired_at = now
    for terms, requested_price in requested.items():
        if terms not in on_sale:
            db.session.add(build_price(plan, requested_price, now))
    db.session.flush()
    db.session.expire(plan, ["prices"])
    return plan


def _replace_store_products(plan: Plan, products: list[StoreProductInput]) -> None:
    """Map the app stores' products to the plan. Raises Invalid if one of them buys another plan, or an add-on."""
    if products and plan.addon:
        raise Invalid(errors={"store_products": ["Must be empty for a plan that is sold only as an add-on."]})
    db.session.execute(sa.delete(StoreProduct).where(StoreProduct.plan_id == plan.id))
    for index, product in enumerate(products):
        values = {**product, "base_plan_id": product["base_plan_id"] or "", "plan_id": plan.id}
        statement = insert(StoreProduct).values(values).on_conflict_do_nothing(index_elements=PRODUCT_KEY)
        if db.session.execute(statement.returning(StoreProduct.plan_id)).first() is None:
            message = "Must not be listed twice, nor buy another plan."
            raise Invalid(errors={f"store_products.{index}": [message]})


def _check_amounts(prices: list[PriceInput]) -> None:
    """Raise Invalid if a price, introductory or not, is more than the payment provider charges."""
    for index, price in enumerate(prices):
        amounts = {"amount_minor": price["amount_minor"]}
        if price["intro"]:
            amounts["intro.amount_minor"] = price["intro"]["amount_minor"]
        for name, amount_minor in amounts.items():
            if amount_minor > maximum_charge_minor(price["currency"]):
                message = "Must not exceed what the payment provider charges at once."
                raise Invalid(errors={f"prices.{index}.{name}": [message]})


def _check_codes(code: str, body: PlanInput) -> None:
    """Raise Invalid if the plan includes, or is sold with, itself or a plan that does not exist."""
    for name, codes in (("includes", body["includes"]), ("sold_with", body["sold_with"])):
        unknown = [other for other in codes or () if other == code or Plan.find_by_code(other) is None]
        if unknown:
            raise Invalid(errors={name: [f"Must be codes of other plans: {', '.join(unknown)}."]})


def price_terms(price: Price) -> tuple:
    """Return the terms of a stored price, comparable with `requested_terms`."""
    return _comparable_terms([getattr(price, name) for name in SCALAR_TERMS], price.countries, price.intro)


def requested_terms(price: PriceInput) -> tuple:
    """Return the terms of a price in a request body."""
    return _comparable_terms([price[name] for name in SCALAR_TERMS], price["countries"], price["intro"])


def _comparable_terms(scalars: list, countries: list[str] | None, intro: Mapping[str, object] | None) -> tuple:
    return (
        *scalars,
        countries and tuple(sorted(set(countries))),
        intro and (intro["amount_minor"], intro["periods"]),
    )


def build_price(plan: Plan, terms_body: PriceInput, now: datetime) -> Price:
    """Build a price of the plan with the terms from a request body."""
    terms: dict[str, Any] = {name: terms_body[name] for name in SCALAR_TERMS}
    terms["countries"] = terms_body["countries"] and sorted(set(terms_body["countries"]))
    if terms_body["intro"]:
        terms |= {
            "intro_amount_minor": terms_body["intro"]["amount_minor"],
            "intro_periods": terms_body["intro"]["periods"],
        }
    return Price(id=new_id("pri"), plan_id=plan.id, created_at=now, **terms)
