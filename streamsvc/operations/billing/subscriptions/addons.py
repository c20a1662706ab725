"""Add-ons: prices of other plans that go along with the base plan, on its periods, its anchor day, its pauses."""

from streamsvc.models import Account
from streamsvc.models.subscriptions import Price
from streamsvc.operations.billing.core.aggregate import Standing
from streamsvc.operations.billing.subscriptions.changes import bill_gated, running
from streamsvc.operations.billing.subscriptions.subscribe import addons_of
from streamsvc.rules.billing import facts as fact
from streamsvc.rules.billing.changes import first_day_without
from streamsvc.rules.refusals.requests import Invalid, NotFound


def add(at: Standing, price_id: str, actor: str) -> None:
    """From today on, charged to the end of the running period. Raises Invalid, WrongState, PaymentFailed."""
    running(at)
    price = fitting(at.account, at.timeline.prices[fact.BASE].id, price_id)
    if price.plan.code in at.timeline.prices:
        raise Invalid(errors={"price_id": ["The subscription has this add-on."]})
    at.happen(fact.AddonAdded, price.plan.code, price.terms, actor=actor)
    bill_gated(at)


def fitting(account: Account, base_id: str, price_id: str) -> Price:
    """The price, if it goes with the base price. Raises Invalid."""
    try:
        return addons_of(account, Price.by_id(base_id), [price_id])[0]
    except Invalid as refused:
        raise Invalid(errors={"price_id": refused.members["errors"]["addons"]}) from None


def remove(at: Standing, plan_code: str, when: str, actor: str) -> None:
    """Now: today is used, days from tomorrow on are credited. Or at the period's end. Raises NotFound, WrongState."""
    running(at)
    if plan_code == fact.BASE or plan_code not in at.timeline.prices:
        raise NotFound
    tomorrow = first_day_without(at.today)
    end = at.timeline.paid_through or at.timeline.paid_from
    at.happen(fact.AddonRemoved, plan_code, end if when == "period_end" else tomorrow, actor=actor)
    bill_gated(at)
