"""GET /v1/plans."""

from streamsvc import pagination
from streamsvc.login import public
from streamsvc.models.subscriptions import Plan
from streamsvc.rules.refusals import NotFound
from streamsvc.schemas.base import page_of
from streamsvc.schemas.subscriptions import PlanOut, PlanQuery
from streamsvc.web import Blueprint

bp = Blueprint("plans", __name__, url_prefix="/v1/plans", description="What is sold, and for how much.")
SCOPE = "plans"


@bp.route("")
@bp.arguments(PlanQuery, location="query")
@public
@bp.response(200, page_of(PlanOut))
def list_plans(asked):
    """The plans on sale, with the prices that the asked country and currency can buy."""
    after = pagination.decode(SCOPE, asked["cursor"])
    plans = [shown(plan, asked["country"], asked["currency"]) for plan in Plan.on_sale()]
    plans = [plan for plan in plans if plan["prices"]]
    rest = [plan for plan in plans if after is None or plan["id"] > after[0]]
    page = pagination.page(rest[: asked["limit"] + 1], asked["limit"], SCOPE, lambda plan: [plan["id"]])
    return page | ({"total": len(plans)} if asked["include_total"] else {})


@bp.route("/<code>")
@public
@bp.response(200, PlanOut)
def get_plan(code):
    """One plan."""
    plan = Plan.by_code(code)
    if plan is None:
        raise NotFound
    return plan


def shown(plan, country, currency):
    prices = [
        price
        for price in plan.prices
        if (country is None or price.countries is None or country in price.countries)
        and (currency is None or price.currency == currency)
    ]
    plain = {name: getattr(plan, name) for name in ("id", "code", "name", "description", "features")}
    return plain | {"prices": prices}
