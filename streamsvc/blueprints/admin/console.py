"""What the console's first pages read: the figures of the day, and the settings in force."""

from streamsvc import clock
from streamsvc.http.edge import Blueprint
from streamsvc.operations.console.overview import build_overview
from streamsvc.schemas.admin.console import Overview, SettingsOut
from streamsvc.security.access import human_operator_only, operator_only
from streamsvc.security.principals import current_operator
from streamsvc.settings import current_settings, describe_settings

bp = Blueprint("admin overview", __name__, url_prefix="/v1/admin", description="The figures of the day, and settings.")


@bp.route("/overview")
@human_operator_only
@bp.response(200, Overview)
def get_overview() -> dict:
    """Retrieve the figures of the day.

    Subscriptions by status, payments and sign-ups of the last 30 days, live streams, jobs and webhooks. Each part is
    null for an operator without its scope: `billing` (subscriptions, payments), `support` (sign-ups), `playback`
    (streams), `admin` (jobs, webhooks).
    """
    operator = current_operator()
    return build_overview(lambda scope: operator.has_scope(scope, write=False), clock.now())


@bp.route("/settings")
@operator_only("admin")
@bp.response(200, SettingsOut)
def list_settings() -> dict:
    """List the settings in force.

    Those of the process that responds. Secrets are masked.
    """
    names = ("name", "value", "description")
    return {"items": [dict(zip(names, row, strict=True)) for row in describe_settings(current_settings())]}
