"""Plans and their prices."""

from streamsvc import clock
from streamsvc.blueprints.admin.audited_resources import PLAN
from streamsvc.http.edge import Blueprint
from streamsvc.http.pagination import paginate_list
from streamsvc.models.subscriptions import Plan
from streamsvc.operations.billing.plans import replace_plan
from streamsvc.operations.outbox.audited_changes import audited
from streamsvc.rules.billing.inputs import PlanInput
from streamsvc.rules.inputs import ShortListInput
from streamsvc.rules.refusals.requests import Invalid
from streamsvc.schemas.admin.subscriptions import PlanAdminOut
from streamsvc.schemas.base import ShortListQuery, Slug, page_of, parse_path_value
from streamsvc.schemas.subscriptions.subscriptions import PlanIn, PlanOut
from streamsvc.security.access import operator_only
from streamsvc.storage.database import db

bp = Blueprint("admin plans", __name__, url_prefix="/v1/admin/plans", description="Create and change plans and prices.")


@bp.route("")
@bp.arguments(ShortListQuery, location="query")
@operator_only("billing")
@bp.response(200, page_of(PlanAdminOut))
def list_all_plans(query: ShortListInput) -> dict:
    """List plans and add-ons, on sale or not, oldest first.

    A plan without `prices` is not on sale: `GET /v1/plans` leaves it out, and only those who subscribe to one of its
    `retired_prices` still have it.
    """
    return paginate_list(Plan.list_all(), query, "all plans", lambda plan: [plan.id])


@bp.route("/<code>", methods=["PUT"])
@bp.arguments(PlanIn)
@operator_only("billing")
@bp.response(200, PlanOut)
@audited(PLAN, "code")
def put_plan(body: PlanInput, code: str) -> Plan:
    """Create or replace a plan with its prices.

    A price that was sold is never changed: new terms create a new price that supersedes it.
    """
    if body["code"] not in (None, parse_path_value(Slug(), "code", code)):
        raise Invalid(errors={"code": ["Must match the code in the URL."]})
    plan = replace_plan(code, body, clock.now())
    db.session.commit()
    return plan
