"""/v1/profiles/{id}/progress: the viewing progress of a profile."""

from streamsvc import clock
from streamsvc.http.edge import Blueprint
from streamsvc.http.idempotency import idempotent
from streamsvc.http.trusted_proxies import client_country
from streamsvc.operations.catalog.reading.audience import viewer_country
from streamsvc.operations.playback import items, reports
from streamsvc.operations.playback.profiles import get_own_profile
from streamsvc.rules.playback.inputs import DatedProgressInput, ProgressBatchInput
from streamsvc.rules.refusals.accounts import PinRequired
from streamsvc.schemas.playback.progress import DatedProgressIn, ProgressBatchIn, ProgressBatchOut, ProgressOut
from streamsvc.security.access import allow_guests, allow_kids
from streamsvc.security.joined_reads import reads_with_viewer
from streamsvc.security.principals import current_viewer

bp = Blueprint("progress", __name__, url_prefix="/v1/profiles/<profile_id>/progress", description="Viewing progress.")


@bp.route("/<item_id>", methods=["PUT"])
@reads_with_viewer(items.choose_item_read)
@allow_guests
@allow_kids
@bp.arguments(DatedProgressIn)
@bp.errors(PinRequired)
@bp.response(200, ProgressOut)
def update_progress(body: DatedProgressInput, profile_id: str, item_id: str) -> dict:
    """Report the progress of a film or an episode.

    The newest report by `at` counts, so a late report never moves the position back. With `sent_at`, a wrong clock does
    not matter: the report is as old as the difference of the two.
    """
    viewer = current_viewer()
    profile, country = get_own_profile(viewer, profile_id), viewer_country(viewer, client_country())
    playable = items.find_joined_playable(viewer, item_id)
    return reports.record_progress(profile, country, playable, body, clock.now())


@bp.route("", methods=["POST"])
@allow_guests
@allow_kids
@bp.arguments(ProgressBatchIn)
@idempotent(per_profile=True)
@bp.errors(PinRequired)
@bp.response(200, ProgressBatchOut)
def update_progress_batch(body: ProgressBatchInput, profile_id: str) -> dict:
    """Report progress collected while a device was offline.

    Reports may come in any order, and again; each item of the response says whether its report was applied. Set
    `sent_at` anew at each attempt, or retry with the same Idempotency-Key: the age of the reports is measured from it.
    """
    viewer = current_viewer()
    profile, country = get_own_profile(viewer, profile_id), viewer_country(viewer, client_country())
    return {"items": reports.record_progress_batch(profile, country, body, clock.now())}
