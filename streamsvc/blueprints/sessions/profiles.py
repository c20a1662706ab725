"""The profiles of an account."""

from streamsvc import clock
from streamsvc.http.edge import Blueprint
from streamsvc.http.idempotency import idempotent
from streamsvc.http.pagination import paginate_query
from streamsvc.models import Account, Profile
from streamsvc.operations.accounts import profiles
from streamsvc.operations.outbox import audit
from streamsvc.rules.inputs import PageInput
from streamsvc.rules.profiles import exceeds_open_profiles, loosens_restrictions
from streamsvc.rules.refusals.accounts import LastProfile, ProfileLimit, ReauthenticationRequired
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.rules.sign_in.inputs import NewProfileInput, ProfileChangeInput
from streamsvc.schemas.base import PageQuery, page_of
from streamsvc.schemas.sessions.profiles import ListedProfile, NewProfile, PinIn, ProfilePatch
from streamsvc.security import password_hashing
from streamsvc.security.authentication import allow_kids, current_viewer, require_recent_authentication
from streamsvc.storage.database import db, lock_row

bp = Blueprint("profiles", __name__, url_prefix="/v1/profiles", description="The profiles of an account.")


@bp.route("")
@allow_kids
@bp.arguments(PageQuery, location="query")
@bp.response(200, page_of(ListedProfile))
def list_profiles(query: PageInput) -> dict:
    """List your profiles, oldest first."""
    profiles_query = Profile.select_owned(current_viewer().account_id)
    return paginate_query(profiles_query, Profile.id, query, "profiles", descending=False)


@bp.route("", methods=["POST"])
@bp.arguments(NewProfile)
@idempotent()
@bp.errors(ProfileLimit, ReauthenticationRequired)
@bp.response(201, ListedProfile)
def create_profile(body: NewProfileInput) -> Profile:
    """Create a profile.

    409 `profile_limit` beyond the plan's limit. A profile that shows more titles than every other profile without a
    PIN requires a recent reauthentication.
    """
    viewer = current_viewer()
    if exceeds_open_profiles(viewer.profiles, body):
        require_recent_authentication()
    return profiles.create_profile(viewer.account_id, body, viewer.entitlements["max_profiles"], clock.now())


@bp.route("/<profile_id>")
@allow_kids
@bp.response(200, ListedProfile)
def get_profile(profile_id: str) -> Profile:
    """Retrieve a profile."""
    return _get_own_profile(profile_id)


@bp.route("/<profile_id>", methods=["PATCH"])
@bp.arguments(ProfilePatch)
@bp.errors(ReauthenticationRequired)
@bp.response(200, ListedProfile)
def update_profile(body: ProfileChangeInput, profile_id: str) -> Profile:
    """Update a profile.

    Loosening its maturity limit requires a recent reauthentication.
    """
    profile = _get_own_profile(profile_id)
    if loosens_restrictions(profile.max_age, profile.kids, body):
        require_recent_authentication()
    for name, value in body.items():
        setattr(profile, name, value)
    audit.record_event("profile_changed", profile.account_id, profile=profile.id, fields=sorted(body))
    db.session.commit()
    return profile


@bp.route("/<profile_id>", methods=["DELETE"])
@bp.errors(LastProfile)
@bp.response(204)
def delete_profile(profile_id: str) -> None:
    """Delete a profile and its history.

    The last profile cannot be deleted: 409 `last_profile`.
    """
    lock_row(Account, current_viewer().account_id)
    profiles.delete_profile(_get_own_profile(profile_id), clock.now())
    db.session.commit()


@bp.route("/<profile_id>/pin", methods=["PUT"])
@bp.arguments(PinIn)
@bp.errors(ReauthenticationRequired)
@bp.response(204)
def set_profile_pin(body: dict, profile_id: str) -> None:
    """Set a profile's PIN.

    Requires a recent reauthentication.
    """
    require_recent_authentication()
    if Profile.find_row(current_viewer().account_id, profile_id) is None:
        raise NotFound
    pin_hash = password_hashing.hash_password(body["pin"], known_device=True)
    profiles.set_pin(_get_own_profile(profile_id), pin_hash)
    db.session.commit()


@bp.route("/<profile_id>/pin", methods=["DELETE"])
@bp.errors(ReauthenticationRequired)
@bp.response(204)
def delete_profile_pin(profile_id: str) -> None:
    """Remove a profile's PIN.

    Requires a recent reauthentication.
    """
    require_recent_authentication()
    profiles.set_pin(_get_own_profile(profile_id), None)
    db.session.commit()


def _get_own_profile(profile_id: str) -> Profile:
    profile = Profile.find_owned(current_viewer().account_id, profile_id)
    if profile is None:
        raise NotFound
    return profile
