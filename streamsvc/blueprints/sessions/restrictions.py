"""What the owner of a household restricts for a profile."""

from streamsvc.blueprints.sessions.profiles import get_own_profile, require_proof
from streamsvc.http.edge import Blueprint
from streamsvc.operations.accounts import restrictions
from streamsvc.rules.playback.inputs import RestrictionsInput
from streamsvc.rules.playback.restrictions import complete_restrictions
from streamsvc.rules.profiles import ProfileAction
from streamsvc.rules.refusals.accounts import ReauthenticationRequired
from streamsvc.schemas.sessions.profiles import Restrictions
from streamsvc.storage.database import db

bp = Blueprint(
    "profile restrictions",
    __name__,
    url_prefix="/v1/profiles/<profile_id>/restrictions",
    description="Which titles a profile sees, and when it may play.",
)


@bp.route("")
@bp.response(200, Restrictions)
def get_restrictions(profile_id: str) -> dict:
    """Retrieve a profile's restrictions."""
    return complete_restrictions(get_own_profile(profile_id).restrictions)


@bp.route("", methods=["PUT"])
@bp.arguments(Restrictions)
@bp.errors(ReauthenticationRequired)
@bp.response(200, Restrictions)
def replace_restrictions(body: RestrictionsInput, profile_id: str) -> dict:
    """Replace a profile's restrictions.

    A title that the profile may not see does not exist for it: 404 in all calls, and absent from lists. Outside its
    viewing hours it may browse but not play: 403 `outside_viewing_hours`. What plays ends at its next heartbeat.
    The body replaces all of them, and what it leaves out is not restricted: `{}` lifts every restriction. Requires a
    recent reauthentication.
    """
    require_proof(None, ProfileAction.RESTRICT)
    profile = get_own_profile(profile_id)
    restrictions.replace_restrictions(profile, body)
    db.session.commit()
    return complete_restrictions(profile.restrictions)
