"""Moving a profile to another account."""

from streamsvc import clock
from streamsvc.blueprints.sessions.profiles import get_own_profile, require_proof
from streamsvc.http.edge import Blueprint
from streamsvc.models import Account, Profile, Stream
from streamsvc.operations.accounts import profile_transfers
from streamsvc.operations.playback.streams import end_streams_uncommitted
from streamsvc.rules.playback.stream_rules import PROFILE_MOVED
from streamsvc.rules.profiles import ProfileAction
from streamsvc.rules.refusals.accounts import (
    LastProfile,
    ProfileLimit,
    ReauthenticationRequired,
    TokenInvalid,
    TooManyAttempts,
)
from streamsvc.schemas.sessions.accounts import Accepted
from streamsvc.schemas.sessions.profiles import ListedProfile, NewProfileTransfer, ProfileTransferToken
from streamsvc.security.principals import current_viewer
from streamsvc.storage.database import db, lock_row

bp = Blueprint("profile transfers", __name__, url_prefix="/v1", description="Move a profile to another account.")


@bp.route("/profiles/<profile_id>/transfers", methods=["POST"])
@bp.arguments(NewProfileTransfer)
@bp.errors(LastProfile, ReauthenticationRequired, TooManyAttempts)
@bp.response(202, Accepted)
def offer_profile(body: dict, profile_id: str) -> dict:
    """Offer a profile to somebody with an account of their own.

    Mails them a link, which moves the profile with its history, watchlist and ratings; earlier links for it stop
    working. Requires a recent reauthentication.
    """
    require_proof(None, ProfileAction.TRANSFER)
    profile_transfers.count_transfer_mail(current_viewer().account_id, body["email"])
    lock_row(Account, current_viewer().account_id)
    profile_transfers.offer_profile(get_own_profile(profile_id), body["email"], clock.now())
    db.session.commit()
    return {"status": "accepted"}


@bp.route("/profiles/<profile_id>/transfers", methods=["DELETE"])
@bp.response(204)
def withdraw_profile_offers(profile_id: str) -> None:
    """Withdraw the offer of a profile.

    Links that were mailed stop working.
    """
    profile_transfers.withdraw_offers(get_own_profile(profile_id), clock.now())
    db.session.commit()


@bp.route("/profile-transfers", methods=["POST"])
@bp.arguments(ProfileTransferToken)
@bp.errors(LastProfile, ProfileLimit, ReauthenticationRequired, TokenInvalid)
@bp.response(201, ListedProfile)
def take_profile(body: dict) -> Profile:
    """Move a profile that was offered to you into your account.

    It keeps its history, watchlist, ratings and age limit, and loses its PIN and restrictions. 409 `profile_limit`
    beyond the plan's limit. Requires a recent reauthentication.
    """
    require_proof(None, ProfileAction.ADD)
    viewer, now = current_viewer(), clock.now()
    max_profiles = viewer.entitlements["max_profiles"]
    profile, former_id = profile_transfers.take_profile(body["token"], viewer.account_id, max_profiles, now)
    end_streams_uncommitted(former_id, now, PROFILE_MOVED, Stream.profile_id == profile.id)
    db.session.commit()
    return profile
