"""/v1/profiles/{id}/progress: how far a profile got."""

from streamsvc import clock
from streamsvc.http.edge import Blueprint
from streamsvc.http.idempotency import idempotent
from streamsvc.operations.playback import reports
from streamsvc.operations.playback.profiles import get_own_profile
from streamsvc.schemas.playback.progress import ProgressBatchIn, ProgressBatchOut, ProgressIn, ProgressOut
from streamsvc.security.authentication import allow_kids, current_viewer

bp = Blueprint("progress", __name__, url_prefix="/v1/profiles/<profile_id>/progress", description="How far they got.")


@bp.route("/<item_id>", methods=["PUT"])
@allow_kids
@bp.arguments(ProgressIn)
@bp.response(200, ProgressOut)
def update_progress(body, profile_id, item_id):
    """Tell how far a film or an episode was watched. The newest report counts: one that comes late never rewinds."""
    return reports.record_progress(get_own_profile(current_viewer(), profile_id), item_id, body, clock.now())


@bp.route("", methods=["POST"])
@allow_kids
@bp.arguments(ProgressBatchIn)
@idempotent()
@bp.response(200, ProgressBatchOut)
def update_progress_batch(body, profile_id):
    """Tell what piled up while a device was offline, in any order; each item says what became of it."""
    return {
        "items": reports.record_progress_batch(
            get_own_profile(current_viewer(), profile_id), body["items"], clock.now()
        )
    }
