"""The sandbox's clock."""

from streamsvc.http.edge import Blueprint
from streamsvc.operations.sandbox import move_clock, sandbox_now
from streamsvc.rules.refusals.sandbox import ClockIsMoving, ClockMovesForward
from streamsvc.schemas.sandbox import ClockIn, ClockOut
from streamsvc.security.access import operator_only

bp = Blueprint("sandbox clock", __name__, url_prefix="/v1/sandbox", description="The sandbox's clock.")


@bp.route("/clock")
@operator_only("sandbox")
@bp.response(200, ClockOut)
def get_clock() -> dict:
    """Retrieve the service's current time."""
    return {"now": sandbox_now()}


@bp.route("/clock", methods=["PUT"])
@bp.arguments(ClockIn)
@operator_only("sandbox")
@bp.errors(ClockIsMoving, ClockMovesForward)
@bp.response(200, ClockOut)
def advance_clock(body: dict) -> dict:
    """Advance the clock.

    Responds when all work that fell due on the way is done, in order of time. The clock never moves back: 422
    `clock_moves_forward`.
    """
    jobs_run = move_clock(body["now"])
    return {"now": body["now"], "jobs_run": jobs_run}
