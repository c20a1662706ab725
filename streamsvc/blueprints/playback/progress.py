"""/v1/profiles/{id}/progress: the viewing progress of a profile."""

from streamsvc import clock
from streamsvc.http.edge import Blueprint
from streamsvc.http.idempotency import idempotent
from streamsvc.operations.playback import reports
from streamsvc.operations.playback.profiles import get_own_profile
from streamsvc.rules.playback.inputs import ProgressBatchInput, ProgressInput
from streamsvc.rules.refusals.accounts import PinRequired
from streamsvc.schemas.playback.progress import ProgressBatchIn, ProgressBatchOut, ProgressIn, ProgressOut
from streamsvc.security.authentication import allow_guests, allow_kids, current_viewer

bp = Blueprint("progress", __name__, url_prefix="/v1/profiles/<profile_id>/progress", description="Viewing progress.")


@bp.route("/<item_id>", methods=["PUT"])
@allow_guests
@allow_kids
@bp.arguments(ProgressIn)
@bp.errors(PinRequired)
@bp.response(200, ProgressOut)
def update_progress(body: ProgressInput, profile_id: str, item_id: str) -> dict:
    """Report the progress of a film or an episode.

    The newest report by `at` counts, so a late report never moves the position back.
    """
    return reports.record_progress(get_own_profile(current_viewer(), profile_id), item_id, body, clock.now())


@bp.route("", methods=["POST"])
@allow_guests
@allow_kids
@bp.arguments(ProgressBatchIn)
@idempotent()
@bp.errors(PinRequired)
@bp.response(200, ProgressBatchOut)
def update_progress_batch(body: ProgressBatchInput, profile_id: str) -> dict:
    """Report progress collected while a device was offline.

    Reports may come in any order; each item of the response says whether its report was applied.
    """
    return {
        "items": reports.record_progress_batch(
            get_own_profile(current_viewer(), profile_id), body["items"], clock.now()
        )
    }
