"""GET·PUT /v1/sandbox/clock."""

from streamsvc.http.edge import Blueprint
from streamsvc.operations.sandbox import move_clock, sandbox_now
from streamsvc.schemas.sandbox import ClockIn, ClockOut
from streamsvc.security.authentication import operator_only

bp = Blueprint("sandbox clock", __name__, url_prefix="/v1/sandbox", description="Time, as the sandbox has it.")


@bp.route("/clock")
@operator_only("sandbox")
@bp.response(200, ClockOut)
def read_clock():
    """What time the service thinks it is."""
    return {"now": sandbox_now()}


@bp.route("/clock", methods=["PUT"])
@bp.arguments(ClockIn)
@operator_only("sandbox")
@bp.response(200, ClockOut)
def put_clock(body):
    """Move the clock forward; answers when all that fell due on the way is done, in time order."""
    ran = move_clock(body["now"])
    return {"now": body["now"], "jobs_run": ran}
