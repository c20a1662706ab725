"""Add-ons as they are ordered, with a start or later: which prices fit, and what is recorded."""

from collections.abc import Iterable, Sequence
from datetime import date

from streamsvc.models import Account
from streamsvc.models.subscriptions import Plan, Price
from streamsvc.operations.billing.core import households
from streamsvc.operations.billing.core.aggregate import SubscriptionAggregate
from streamsvc.rules.billing import facts as fact
from streamsvc.rules.billing.inputs import AddonInput, SubscriptionInput
from streamsvc.rules.refusals.requests import Invalid


def requested_addons(body: SubscriptionInput) -> list[AddonInput]:
    """Return the requested add-ons in order: `addons`, then `addon_items`."""
    single_units: list[AddonInput] = [
        {"price_id": price_id, "quantity": 1, "ends_at": None} for price_id in body["addons"]
    ]
    return [*single_units, *body["addon_items"]]


def check_addon_end(ends_at: date | None, today: date, field: str) -> None:
    """Raise Invalid for `field` unless the add-on's end, if it has one, is after today."""
    if ends_at and ends_at <= today:
        raise Invalid(errors={field: ["The end of an add-on must be after its first day."]})


def record_addon(
    aggregate: SubscriptionAggregate, price: Price, quantity: int, ends_at: date | None, actor: str
) -> None:
    """Record that an add-on is added, with its trial if the household has not had it yet."""
    code, has_trial = price.plan.code, price.trial_days and households.can_start_addon_trial(aggregate, price.plan.code)
    trial_days = price.trial_days if has_trial else 0
    terms, has_intro = households.agreed_terms(aggregate, price)
    details = (code, terms, quantity, trial_days, ends_at, has_intro)
    aggregate.record_event(fact.AddonAdded, *details, actor=actor)


def get_addon_prices(account: Account, base_price: Price, price_ids: Sequence[str]) -> list[Price]:
    """Return the add-on prices. They must share the base price's currency and interval, each for a different plan.

    The base plan must not include any of them, and each must be sold with it. Raises Invalid.
    """
    prices = [price for price_id in price_ids if (price := Price.find_on_sale(price_id, account.country))]
    terms = (base_price.currency, base_price.terms.interval)
    is_fitting = len(prices) == len(price_ids) and all(
        (price.currency, price.terms.interval) == terms for price in prices
    )
    if not is_fitting or len({price.plan_id for price in [base_price, *prices]}) <= len(prices):
        raise Invalid(
            errors={"addons": ["Must be prices of other plans with the currency and interval of the base price."]}
        )
    base = base_price.plan
    if included := [price.plan.code for price in prices if price.plan.code in base.includes]:
        raise Invalid(errors={"addons": [f"The plan already includes: {', '.join(included)}."]})
    if unfitting := list_unfitting_addons(base, [price.plan for price in prices]):
        raise Invalid(errors={"addons": [f"Not sold with this plan: {', '.join(unfitting)}."]})
    return prices


def list_unfitting_addons(base: Plan, addons: Iterable[Plan]) -> list[str]:
    """List the codes of the add-ons that are not sold with the base plan."""
    return sorted(addon.code for addon in addons if addon.sold_with and base.code not in addon.sold_with)
