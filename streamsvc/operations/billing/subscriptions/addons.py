"""Add-ons: prices of other plans billed with the base plan, on its periods, anchor day, and pauses.

Each is an item of its own, with a quantity, a trial and an end of its own.
"""

from streamsvc.models import Account
from streamsvc.models.subscriptions import Price
from streamsvc.operations.billing.core.aggregate import SubscriptionAggregate
from streamsvc.operations.billing.subscriptions.addon_orders import check_addon_end, get_addon_prices, record_addon
from streamsvc.operations.billing.subscriptions.changes import (
    bill_change,
    check_fits_scheduled_change,
    require_changeable,
)
from streamsvc.rules.billing import facts as fact
from streamsvc.rules.billing.addons import Addon
from streamsvc.rules.billing.changes import first_day_after_cancellation
from streamsvc.rules.billing.inputs import AddonChangeInput, AddonInput
from streamsvc.rules.refusals.billing import WrongState
from streamsvc.rules.refusals.requests import Invalid, NotFound


def add_addon(aggregate: SubscriptionAggregate, body: AddonInput, actor: str) -> None:
    """Add an add-on from today on, charged to the end of the current period, or of its own trial on.

    Raises Invalid, WrongState, PaymentOverdue, PaymentFailed.
    """
    require_changeable(aggregate)
    price = get_addon_price(aggregate.account, aggregate.timeline.prices[fact.BASE_ITEM].id, body["price_id"])
    if price.plan.code in aggregate.timeline.prices:
        raise Invalid(errors={"price_id": ["The subscription already has this add-on."]})
    check_addon_end(body["ends_at"], aggregate.today, "ends_at")
    check_fits_scheduled_change(aggregate, price.plan.code)
    record_addon(aggregate, price, body["quantity"], body["ends_at"], actor)
    bill_change(aggregate)


def get_addon_price(account: Account, base_id: str, price_id: str) -> Price:
    """Return the price if it can be combined with the base price. Raises Invalid."""
    try:
        return get_addon_prices(account, Price.get_price(base_id), [price_id])[0]
    except Invalid as error:
        raise Invalid(errors={"price_id": error.members["errors"]["addons"]}) from None


def get_addon(aggregate: SubscriptionAggregate, plan_code: str) -> Addon:
    """Return the add-on of the subscription. Raises NotFound."""
    addon = aggregate.timeline.addons.get(plan_code)
    if addon is None or addon.removed_on:
        raise NotFound
    return addon


def change_addon(aggregate: SubscriptionAggregate, plan_code: str, body: AddonChangeInput, actor: str) -> None:
    """Change the quantity or the end date of an add-on.

    More units are charged from today to the end of the period. Fewer are credited from tomorrow on: today counts as
    used. Raises NotFound, Invalid, WrongState, PaymentOverdue, PaymentFailed.
    """
    require_changeable(aggregate)
    addon = get_addon(aggregate, plan_code)
    quantity = body.get("quantity", addon.quantity)
    if quantity > addon.quantity and addon.charged_from:
        raise WrongState(detail="The quantity of an add-on cannot be raised during its trial; try again afterwards.")
    if "ends_at" in body and body["ends_at"] != addon.ends_on:
        if quantity > addon.quantity:
            raise Invalid(
                errors={"ends_at": ["Change the end date in a request of its own: more units need a payment."]}
            )
        check_addon_end(body["ends_at"], aggregate.today, "ends_at")
        check_fits_scheduled_change(aggregate, plan_code)
        aggregate.record_event(fact.AddonEndSet, plan_code, body["ends_at"], actor=actor)
    if quantity != addon.quantity:
        is_less, today = quantity < addon.quantity, aggregate.today
        effective = first_day_after_cancellation(today) if is_less else today
        aggregate.record_event(fact.AddonQuantityChanged, plan_code, quantity, effective, actor=actor)
    bill_change(aggregate)


def remove_addon(aggregate: SubscriptionAggregate, plan_code: str, when: str, actor: str) -> None:
    """Remove an add-on now, crediting the days from tomorrow on, or at the end of its paid days or its trial.

    `when`: `now` or `period_end`. Raises NotFound, WrongState, PaymentOverdue.
    """
    require_changeable(aggregate)
    addon = get_addon(aggregate, plan_code)
    if when == "now":
        effective = first_day_after_cancellation(aggregate.today)
        aggregate.record_event(fact.AddonRemoved, plan_code, effective, actor=actor)
        bill_change(aggregate)
    elif not addon.is_removal_scheduled:
        aggregate.record_event(fact.AddonRemovalScheduled, plan_code, actor=actor)


def restore_addon(aggregate: SubscriptionAggregate, plan_code: str, actor: str) -> None:
    """Undo the scheduled removal of an add-on. Raises NotFound, WrongState, PaymentOverdue, PaymentFailed."""
    require_changeable(aggregate)
    if get_addon(aggregate, plan_code).is_removal_scheduled:
        check_fits_scheduled_change(aggregate, plan_code)
        aggregate.record_event(fact.AddonRemovalDropped, plan_code, actor=actor)
        bill_change(aggregate)
