"""Plans on sale."""

import msgspec
from flask import Response

from streamsvc.http import pagination
from streamsvc.http.edge import Blueprint, json_response
from streamsvc.http.etags import add_cache_headers, compute_etag, not_modified_response
from streamsvc.models.subscriptions import Plan
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.schemas.base import page_of
from streamsvc.schemas.subscriptions.subscriptions import PlanOut, PlanQuery
from streamsvc.security.authentication import public

bp = Blueprint("plans", __name__, url_prefix="/v1/plans", description="Plans and prices on sale.")
SCOPE = "plans"
CACHE = "public, max-age=60"
PAGE, PLAN = page_of(PlanOut)(), PlanOut()


@bp.route("")
@bp.arguments(PlanQuery, location="query")
@public
@bp.etag
@bp.response(200, PAGE)
def list_plans(query: dict) -> Response:
    """List plans on sale.

    `country` and `currency` limit the prices returned. Add-ons, which are sold only with another plan, are listed by
    `addons=true`.
    """
    after = pagination.decode_cursor(SCOPE, query["cursor"])
    listed = Plan.list_on_sale(addon=query["addons"])
    plans = [plan_view(plan, query["country"], query["currency"]) for plan in listed]
    plans = [plan for plan in plans if plan["prices"]]
    rest = [plan for plan in plans if after is None or plan["id"] > after[0]]
    page = pagination.build_page(rest[: query["limit"] + 1], query["limit"], SCOPE, lambda plan: [plan["id"]])
    return _cached_response(PAGE.dump(page | ({"total": len(plans)} if query["include_total"] else {})))


@bp.route("/<code>")
@public
@bp.etag
@bp.response(200, PlanOut)
def get_plan(code: str) -> Response:
    """Retrieve a plan."""
    plan = Plan.find_by_code(code)
    if plan is None:
        raise NotFound
    return _cached_response(PLAN.dump(plan))


def _cached_response(document: dict) -> Response:
    """Return a publicly cacheable response: one minute, then revalidated by ETag."""
    body = msgspec.json.encode(document)
    etag = compute_etag(body)
    return not_modified_response(etag, CACHE) or add_cache_headers(json_response(body), etag, CACHE)


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
