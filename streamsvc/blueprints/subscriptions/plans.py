"""Plans on sale."""

from collections.abc import Callable

import msgspec
from flask import Response, request

from streamsvc.http import pagination
from streamsvc.http.edge import Blueprint
from streamsvc.http.etags import compute_etag
from streamsvc.http.hot_reads import hot_read
from streamsvc.http.kept_responses import kept_response
from streamsvc.models.subscriptions import Plan
from streamsvc.models.subscriptions.plans import PLANS_AS_STORED, PRICES_AS_STORED
from streamsvc.rules.billing.inputs import PlansInput
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.schemas.base import page_of
from streamsvc.schemas.subscriptions.subscriptions import PlanOut, PlanQuery
from streamsvc.security.access import public

bp = Blueprint("plans", __name__, url_prefix="/v1/plans", description="Plans and prices on sale.")
SCOPE = "plans"
CACHE = "public, max-age=60"
PAGE, PLAN = page_of(PlanOut)(), PlanOut()


@bp.route("")
@hot_read
@bp.arguments(PlanQuery, location="query")
@public
@bp.etag
@bp.response(200, PAGE)
def list_plans(query: PlansInput) -> Response:
    """List plans on sale.

    `country` and `currency` limit the prices returned. Add-ons, which are sold only with another plan, are listed by
    `addons=true`.
    """
    after = pagination.decode_cursor(SCOPE, query["cursor"])
    return _cacheable_response(lambda: PAGE.dump(_page_of_plans(query, after)), request.environ["QUERY_STRING"])


def _page_of_plans(query: PlansInput, after: list | None) -> dict:
    listed = Plan.list_on_sale(addon=query["addons"])
    plans = [plan_view(plan, query["country"], query["currency"]) for plan in listed]
    plans = [plan for plan in plans if plan["prices"]]
    rest = [plan for plan in plans if after is None or plan["id"] > after[0]]
    page = pagination.build_page(rest[: query["limit"] + 1], query["limit"], SCOPE, lambda plan: [plan["id"]])
    return page | (pagination.total_members(len(plans)) if query["include_total"] else {})


@bp.route("/<code>")
@hot_read
@public
@bp.etag
@bp.response(200, PlanOut)
def get_plan(code: str) -> Response:
    """Retrieve a plan."""

    def build() -> dict:
        plan = Plan.find_by_code(code)
        if plan is None:
            raise NotFound
        return PLAN.dump(plan)

    return _cacheable_response(build, code)


def _cacheable_response(build: Callable[[], dict], *etag_parts: object) -> Response:
    """Return a publicly cacheable response: one minute, then revalidated by ETag.

    Its version is all plans and prices on sale, as they are stored.
    """
    rows = [tuple(row) for row in PLANS_AS_STORED.all() + PRICES_AS_STORED.all()]  # the repr of a named tuple is slow
    etag = compute_etag(rows, *etag_parts)
    return kept_response(etag, CACHE, lambda: msgspec.json.encode(build()))


def plan_view(plan: Plan, country: str | None, currency: str | None) -> dict:
    """Return the plan with the prices for sale in the country and currency; None means any."""
    prices = [
        price
        for price in plan.prices
        if (country is None or price.countries is None or country in price.countries)
        and (currency is None or price.currency == currency)
    ]
    names = [column.key for column in Plan.__table__.columns if column.key not in ("created_at", "updated_at")]
    view = {name: getattr(plan, name) for name in names}
    return view | {"prices": prices}
