"""/v1/profiles/{id}/progress: how far a profile got."""

from streamsvc import clock
from streamsvc.http.edge import Blueprint
from streamsvc.http.idempotency import idempotent
from streamsvc.operations.playback import reports
from streamsvc.operations.playback.profiles import own_profile
from streamsvc.schemas.playback.progress import ProgressBatchIn, ProgressBatchOut, ProgressIn, ProgressOut
from streamsvc.security.authentication import kids_too, viewer

bp = Blueprint("progress", __name__, url_prefix="/v1/profiles/<profile_id>/progress", description="How far they got.")


@bp.route("/<item_id>", methods=["PUT"])
@kids_too
@bp.arguments(ProgressIn)
@bp.response(200, ProgressOut)
def put_progress(told, profile_id, item_id):
    """Tell how far a film or an episode was watched. The newest report counts: one that comes late never rewinds."""
    return reports.take(own_profile(viewer(), profile_id), item_id, told, clock.now())


@bp.route("", methods=["POST"])
@kids_too
@bp.arguments(ProgressBatchIn)
@idempotent()
@bp.response(200, ProgressBatchOut)
def post_progress(told, profile_id):
    """Tell what piled up while a device was offline, in any order; each item says what became of it."""
    return {"items": reports.take_all(own_profile(viewer(), profile_id), told["items"], clock.now())}
