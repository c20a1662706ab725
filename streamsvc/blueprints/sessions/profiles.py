"""The profiles of an account."""

from streamsvc import clock
from streamsvc.http.edge import Blueprint
from streamsvc.http.idempotency import idempotent
from streamsvc.http.pagination import paginate_query
from streamsvc.models import Account, Profile, Stream
from streamsvc.operations.accounts import profiles
from streamsvc.operations.outbox import audit
from streamsvc.operations.playback.streams import end_streams_uncommitted
from streamsvc.rules.inputs import PageInput
from streamsvc.rules.playback.stream_rules import PROFILE_DELETED
from streamsvc.rules.profiles import ProfileAction, is_profile_action_allowed, profile_change_actions
from streamsvc.rules.refusals.accounts import LastProfile, ProfileLimit, ReauthenticationRequired
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.rules.sign_in.inputs import NewProfileInput, ProfileChangeInput
from streamsvc.schemas.base import PageQuery, page_of
from streamsvc.schemas.sessions.profiles import DeletedProfile, ListedProfile, NewProfile, PinIn, ProfilePatch
from streamsvc.security import password_hashing
from streamsvc.security.access import allow_kids
from streamsvc.security.principals import current_viewer
from streamsvc.storage.database import db, lock_row

bp = Blueprint("profiles", __name__, url_prefix="/v1", description="The profiles of an account.")


@bp.route("/profiles")
@allow_kids
@bp.arguments(PageQuery, location="query")
@bp.response(200, page_of(ListedProfile))
def list_profiles(query: PageInput) -> dict:
    """List your profiles, oldest first."""
    profiles_query = Profile.select_owned(current_viewer().account_id)
    return paginate_query(profiles_query, Profile.id, query, "profiles", descending=False)


@bp.route("/profiles", methods=["POST"])
@bp.arguments(NewProfile)
@idempotent()
@bp.errors(ProfileLimit, ReauthenticationRequired)
@bp.response(201, ListedProfile)
def create_profile(body: NewProfileInput) -> Profile:
    """Create a profile.

    409 `profile_limit` beyond the plan's limit. Requires a recent reauthentication.
    """
    require_proof(None, ProfileAction.ADD)
    viewer = current_viewer()
    return profiles.create_profile(viewer.account_id, body, viewer.entitlements["max_profiles"], clock.now())


@bp.route("/profiles/<profile_id>")
@allow_kids
@bp.response(200, ListedProfile)
def get_profile(profile_id: str) -> Profile:
    """Retrieve a profile."""
    return get_own_profile(profile_id)


@bp.route("/profiles/<profile_id>", methods=["PATCH"])
@bp.arguments(ProfilePatch)
@bp.errors(ReauthenticationRequired)
@bp.response(200, ListedProfile)
def update_profile(body: ProfileChangeInput, profile_id: str) -> Profile:
    """Update a profile.

    Loosening its maturity limit requires a recent reauthentication. So does any other change of a profile with a PIN,
    and a new `name` or `kids` of any profile, unless the profile is selected and its own PIN was entered within the
    last ten minutes.
    """
    lock_row(Account, current_viewer().account_id)
    profile = get_own_profile(profile_id)
    require_proof(profile, *profile_change_actions(profile, body))
    for name, value in body.items():
        setattr(profile, name, value)
    audit.record_event("profile_changed", profile.account_id, profile=profile.id, fields=sorted(body))
    db.session.commit()
    return profile


@bp.route("/profiles/<profile_id>", methods=["DELETE"])
@bp.errors(LastProfile, ReauthenticationRequired)
@bp.response(204)
def delete_profile(profile_id: str) -> None:
    """Delete a profile.

    Its streams end. It can be restored with its history for 30 days. The last profile cannot be deleted: 409
    `last_profile`. Requires a recent reauthentication, unless the profile is selected and its own PIN was entered
    within the last ten minutes.
    """
    account_id, now = current_viewer().account_id, clock.now()
    lock_row(Account, account_id)
    profile = get_own_profile(profile_id)
    require_proof(profile, ProfileAction.DELETE)
    profiles.delete_profile(profile, now)
    end_streams_uncommitted(account_id, now, PROFILE_DELETED, Stream.profile_id == profile_id)
    db.session.commit()


@bp.route("/deleted-profiles")
@bp.arguments(PageQuery, location="query")
@bp.response(200, page_of(DeletedProfile))
def list_deleted_profiles(query: PageInput) -> dict:
    """List your deleted profiles that can be restored, oldest first."""
    restorable = Profile.select_restorable(current_viewer().account_id, clock.now())
    return paginate_query(restorable, Profile.id, query, "deleted profiles", descending=False)


@bp.route("/profiles/<profile_id>/restoration", methods=["POST"])
@bp.errors(ProfileLimit, ReauthenticationRequired)
@bp.response(200, ListedProfile)
def restore_profile(profile_id: str) -> Profile:
    """Restore a deleted profile with its history, PIN and maturity limit.

    Possible for 30 days; afterwards, 404. 409 `profile_limit` beyond the plan's limit. Requires a recent
    reauthentication.
    """
    require_proof(None, ProfileAction.RESTORE)
    viewer = current_viewer()
    profile = profiles.restore_profile(viewer.account_id, profile_id, viewer.entitlements["max_profiles"], clock.now())
    db.session.commit()
    return profile


@bp.route("/profiles/<profile_id>/pin", methods=["PUT"])
@bp.arguments(PinIn)
@bp.errors(ReauthenticationRequired)
@bp.response(204)
def set_profile_pin(body: dict, profile_id: str) -> None:
    """Set a profile's PIN.

    Requires a recent reauthentication.
    """
    require_proof(None, ProfileAction.SET_PIN)
    if Profile.find_row(current_viewer().account_id, profile_id) is None:
        raise NotFound
    pin_hash = password_hashing.hash_password(body["pin"], known_device=True)
    profiles.set_pin(get_own_profile(profile_id), pin_hash)
    db.session.commit()


@bp.route("/profiles/<profile_id>/pin", methods=["DELETE"])
@bp.errors(ReauthenticationRequired)
@bp.response(204)
def delete_profile_pin(profile_id: str) -> None:
    """Remove a profile's PIN.

    Requires a recent reauthentication, unless the profile is selected and the PIN was entered within the last ten
    minutes.
    """
    profile = get_own_profile(profile_id)
    require_proof(profile, ProfileAction.REMOVE_PIN)
    profiles.set_pin(profile, None)
    db.session.commit()


def get_own_profile(profile_id: str) -> Profile:
    """Return a profile of the viewer's account. Raises NotFound."""
    profile = Profile.find_owned(current_viewer().account_id, profile_id)
    if profile is None:
        raise NotFound
    return profile


def require_proof(profile: Profile | None, *actions: ProfileAction) -> None:
    """Require what proves that the viewer may do this to the profile; None: to one that has no PIN to enter.

    Raises ReauthenticationRequired.
    """
    viewer = current_viewer()
    has_pin = profile is not None and profile.has_pin
    pin_proved = profile is not None and has_pin and viewer.has_entered_pin_of(profile.id)
    owner_proved = viewer.is_recently_authenticated
    if not all(is_profile_action_allowed(action, has_pin, owner_proved, pin_proved) for action in actions):
        raise ReauthenticationRequired
