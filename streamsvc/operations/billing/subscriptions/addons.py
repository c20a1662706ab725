"""Add-ons: prices of other plans billed with the base plan, on its periods, anchor day, and pauses."""

from streamsvc.models import Account
from streamsvc.models.subscriptions import Price
from streamsvc.operations.billing.core.aggregate import SubscriptionAggregate
from streamsvc.operations.billing.subscriptions.changes import bill_change, require_changeable
from streamsvc.operations.billing.subscriptions.subscribe import get_addon_prices
from streamsvc.rules.billing import facts as fact
from streamsvc.rules.billing.changes import first_day_after_cancellation
from streamsvc.rules.refusals.requests import Invalid, NotFound


def add_addon(aggregate: SubscriptionAggregate, price_id: str, actor: str) -> None:
    """Add an add-on from today on, charged to the end of the current period.

    Raises Invalid, WrongState, PaymentOverdue, PaymentFailed.
    """
    require_changeable(aggregate)
    price = get_addon_price(aggregate.account, aggregate.timeline.prices[fact.BASE_ITEM].id, price_id)
    if price.plan.code in aggregate.timeline.prices:
        raise Invalid(errors={"price_id": ["The subscription already has this add-on."]})
    aggregate.record_event(fact.AddonAdded, price.plan.code, price.terms, actor=actor)
    bill_change(aggregate)


def get_addon_price(account: Account, base_id: str, price_id: str) -> Price:
    """Return the price if it can be combined with the base price. Raises Invalid."""
    try:
        return get_addon_prices(account, Price.get_price(base_id), [price_id])[0]
    except Invalid as error:
        raise Invalid(errors={"price_id": error.members["errors"]["addons"]}) from None


def remove_addon(aggregate: SubscriptionAggregate, plan_code: str, when: str, actor: str) -> None:
    """Remove an add-on now, crediting the days from tomorrow on, or at the end of the period.

    `when`: `now` or `period_end`. Raises NotFound, WrongState, PaymentOverdue.
    """
    require_changeable(aggregate)
    if plan_code == fact.BASE_ITEM or plan_code not in aggregate.timeline.prices:
        raise NotFound
    tomorrow = first_day_after_cancellation(aggregate.today)
    end = aggregate.timeline.paid_through or aggregate.timeline.paid_from
    aggregate.record_event(fact.AddonRemoved, plan_code, end if when == "period_end" else tomorrow, actor=actor)
    bill_change(aggregate)
