"""Sandbox clocks of single accounts, and the requests that run by them."""

from datetime import datetime

from flask import current_app, request

from streamsvc import clock
from streamsvc.http.edge import Blueprint
from streamsvc.models import AccountClock
from streamsvc.operations.account_clocks import (
    ClockState,
    delete_account_clock,
    find_clock_state,
    find_owner,
    move_account_clock,
)
from streamsvc.rules.refusals.sandbox import ClockIsMoving, ClockMovesForward
from streamsvc.schemas.sandbox import AccountClockOut, ClockIn
from streamsvc.security.access import operator_only
from streamsvc.security.principals import current_principal
from streamsvc.security.viewers import Viewer

bp = Blueprint(
    "sandbox account clocks",
    __name__,
    url_prefix="/v1/sandbox/accounts/<account_id>/clock",
    description="The sandbox's clocks of single accounts.",
)
BILLING_PACKAGES = (
    "streamsvc.blueprints.subscriptions",
    "streamsvc.blueprints.admin.billing",
    "streamsvc.blueprints.sandbox.payments",
)


@bp.route("")
@operator_only("sandbox")
@bp.response(200, AccountClockOut)
def get_account_clock(account_id: str) -> ClockState:
    """Retrieve the time of an account's billing.

    While a long move goes on, `status` is `advancing`, and `progress_percent` says how far it has come.
    """
    return find_clock_state(account_id, clock.now())


@bp.route("", methods=["PUT"])
@bp.arguments(ClockIn)
@operator_only("sandbox")
@bp.errors(ClockIsMoving, ClockMovesForward)
@bp.response(200, AccountClockOut)
def advance_account_clock(body: dict, account_id: str) -> ClockState:
    """Advance the time of an account's billing.

    Runs the account's renewals, trials, retries, dunning and mails that fall due on the way, each at its moment, and
    nothing of other accounts. The clock then shows that time until the service's own clock has come there. Responds
    after ten seconds at the latest: what is left then goes on in the worker, with `status` `advancing`. The clock never
    moves back: 422 `clock_moves_forward`.
    """
    return move_account_clock(account_id, body["now"], clock.now())


@bp.route("", methods=["DELETE"])
@operator_only("sandbox")
@bp.errors(ClockIsMoving)
@bp.response(204)
def remove_account_clock(account_id: str) -> None:
    """Delete an account's clock.

    The account's billing follows the service's clock again. A live subscription that was taken ahead of it ends without
    credit, since it cannot go back. 404 if the account has no clock of its own.
    """
    delete_account_clock(account_id, clock.now())


@bp.before_app_request
def run_by_account_clock() -> None:
    """Run a request about one account's billing by the account's sandbox clock."""
    blueprint = current_app.blueprints.get(request.blueprint or "")
    if blueprint is None or not blueprint.import_name.startswith(BILLING_PACKAGES):
        return
    account_id = _find_account_id()
    shows: datetime | None = AccountClock.find_time(account_id) if account_id else None
    if account_id and shows:
        clock.use_account_clock(account_id, max(shows, clock.now()))


def _find_account_id() -> str | None:
    """Return the id of the account whose billing the request reads or changes: the viewer's, or the one it names."""
    principal = current_principal()
    if isinstance(principal, Viewer):
        return principal.account_id
    body = request.get_json(silent=True) if request.is_json else None
    named = [*(request.view_args or {}).values(), body.get("account_id") if isinstance(body, dict) else None]
    owners = (find_owner(name) for name in named if isinstance(name, str))
    return next((owner for owner in owners if owner), None)
