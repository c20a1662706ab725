"""Sign-in, and the viewer's sessions."""

import hashlib

import msgspec
from flask import Response

from streamsvc import clock
from streamsvc.blueprints.sessions.cookies import (
    clear_session_cookies,
    device_and_trust_token,
    new_token_response,
    token_in_cookie_on_request,
)
from streamsvc.blueprints.sessions.documents import current_session_view, sign_in_response
from streamsvc.http import idempotency
from streamsvc.http.edge import Blueprint, json_response
from streamsvc.http.etags import has_etag
from streamsvc.http.hot_reads import hot_read
from streamsvc.http.idempotency import idempotent
from streamsvc.http.pagination import paginate_query
from streamsvc.http.request_facts import current_request_facts
from streamsvc.models import Profile, Session
from streamsvc.operations.accounts import pins
from streamsvc.operations.credentials import revocation, second_factor, sessions, trusted_devices
from streamsvc.operations.outbox import audit
from streamsvc.operations.sign_in import hook, passkeys, password, reauthentication
from streamsvc.rules.inputs import PageInput
from streamsvc.rules.profiles import is_limited
from streamsvc.rules.refusals.access import EndUserAddressInvalid
from streamsvc.rules.refusals.accounts import (
    InvalidCredentials,
    KidsProfile,
    OtherProofRequired,
    PinInvalid,
    PinLocked,
    PinRequired,
    SecondFactorInvalid,
    SecondFactorRequired,
    SignInDenied,
    TooManyAttempts,
    WrongCode,
    WrongPassword,
)
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.rules.sign_in.inputs import PasswordSignInInput, ReauthenticationInput
from streamsvc.rules.sign_in.sessions import SESSION_TOKEN_PREFIX
from streamsvc.schemas.base import PageQuery, page_of
from streamsvc.schemas.sessions.accounts import Accepted
from streamsvc.schemas.sessions.passkeys import BrowserJson
from streamsvc.schemas.sessions.sessions import (
    CurrentSession,
    ListedSession,
    NewSession,
    NewToken,
    Reauthentication,
    SessionPatch,
    SignedIn,
)
from streamsvc.security.access import accept_guest_token, allow_guests, allow_kids, public
from streamsvc.security.principals import current_viewer
from streamsvc.storage.database import db

ORIGIN_NAMES = ("address", "city", "country", "impossible_travel", "user_agent", "impersonation")
bp = Blueprint("sessions", __name__, url_prefix="/v1/sessions", description="Sign in, check and end sessions.")


@bp.route("", methods=["POST"])
@bp.arguments(NewSession)
@public
@accept_guest_token
@token_in_cookie_on_request
@idempotent()
@bp.errors(
    EndUserAddressInvalid, InvalidCredentials, SecondFactorInvalid, SecondFactorRequired, SignInDenied, TooManyAttempts
)
@bp.response(201, SignedIn)
def create_session(body: PasswordSignInInput) -> Response:
    """Sign in.

    `identifier` is an email address, or a username or telephone number where the service accepts them. An unknown one,
    a wrong password and a disabled account give the same 401 `invalid_credentials`. A missing second factor is 401
    `second_factor_required`; too many attempts are 429 `too_many_attempts`.
    """
    facts = current_request_facts()
    device, trust_token = device_and_trust_token(body)
    identifier, device_id = body.get("identifier") or body["email"], (device or {}).get("id")
    verified = password.verify_sign_in_password(identifier, body["password"], device_id, facts, body.get("challenge"))
    now = clock.now()
    second = second_factor.require_second_factor(verified, body, trust_token, facts, now)
    hook.require_permission(verified.account.id, "password", device, facts, second)
    if not password.lock_and_recheck_password(verified):
        raise password.invalid_credentials(identifier)
    token = SESSION_TOKEN_PREFIX + idempotency.generate_secret()
    session = password.create_session(
        verified.account.id, device, body["remember"], token, facts, now, notify=True, second_factor=second
    )
    trust = trusted_devices.trust_device_if_requested(session, body["trust_device"], second, now)
    return sign_in_response(token, body["cookie"], trust)


@bp.route("/current")
@hot_read
@allow_guests
@allow_kids
@bp.etag
@bp.response(200, CurrentSession)
@bp.alt_response(304, description="Not modified since the response with this `ETag`.")
def get_current_session() -> Response:
    """Retrieve the current session.

    For front ends that check a viewer's token. Session, account, profiles, subscription and entitlements come from one
    consistent read.
    """
    body = msgspec.json.encode(current_session_view(current_viewer()))
    etag = hashlib.sha256(body).hexdigest()[:32]
    headers = [("ETag", f'"{etag}"')]
    return Response(status=304, headers=headers) if has_etag(etag) else json_response(body, headers=headers)


@bp.route("/current", methods=["DELETE"])
@allow_guests
@allow_kids
@bp.response(204)
def delete_current_session() -> Response:
    """Sign out.

    The next use of the token is refused, on every worker.
    """
    viewer = current_viewer()
    sessions.end_sessions(viewer.account_id, clock.now(), "signed_out", Session.id == viewer.row.session_id)
    audit.record_event("session_ended", viewer.account_id, session=viewer.row.session_id)
    db.session.commit()
    response = Response(status=204)
    clear_session_cookies(response)
    return response


@bp.route("/current", methods=["PATCH"])
@allow_kids
@bp.arguments(SessionPatch)
@bp.errors(KidsProfile, NotFound, PinInvalid, PinLocked, PinRequired, TooManyAttempts)
@bp.response(200, CurrentSession)
def select_profile(body: dict) -> Response:
    """Select the profile that is watching.

    A profile with a PIN needs it: 403 `pin_required`. For ten minutes, the PIN is also a proof for changing that
    profile. Selecting a kids' profile, or one with an age limit or restrictions, ends the window of a recent
    authentication. Null deselects the profile; leaving a kids' profile that way requires a recent reauthentication,
    because without a profile the whole account is open.
    """
    viewer, profile_id, has_pin, ends_window = current_viewer(), body["profile_id"], False, False
    if profile_id is None:
        if viewer.profile and viewer.profile.kids and not viewer.is_recently_authenticated:
            raise KidsProfile
    else:
        profile = Profile.find_row(viewer.account_id, profile_id)
        if profile is None:
            raise NotFound
        pins.check_pin(profile, body.get("pin"), viewer.row.device_id, viewer.is_recently_authenticated)
        has_pin, ends_window = profile.pin_hash is not None, is_limited(profile)
    session = db.session.get_one(Session, viewer.row.session_id)
    session.profile_id, session.pin_verified_at = profile_id, clock.now() if has_pin else None
    if ends_window:
        reauthentication.end_reauthentication_window(session)
    audit.record_event("profile_selected", viewer.account_id, session=viewer.row.session_id, profile=profile_id)
    db.session.flush()
    document = current_session_view(viewer.reload())
    db.session.commit()
    return json_response(msgspec.json.encode(document))


@bp.route("/current/reauthentication", methods=["POST"])
@allow_kids
@bp.arguments(Reauthentication)
@bp.errors(TooManyAttempts, WrongCode, WrongPassword)
@bp.response(204)
@bp.alt_response(200, schema=NewToken(), description="The new session token. Only with `rotate`.")
def reauthenticate(body: ReauthenticationInput) -> Response:
    """Reauthenticate.

    Opens a ten-minute window for sensitive calls, which otherwise respond with 403 `reauthentication_required`.
    """
    viewer = current_viewer()
    reauthentication.verify_reauthentication(viewer, body)
    reauthentication.start_reauthentication_window(viewer.row.session_id, viewer.account_id)
    token = reauthentication.renew_session_token(viewer, body["rotate"])
    db.session.commit()
    return new_token_response(token)


@bp.route("/current/reauthentication/passkey-options", methods=["POST"])
@allow_kids
@bp.response(200, BrowserJson)
def start_passkey_reauthentication() -> Response:
    """Create options for reauthenticating with a passkey.

    Send the authenticator's response as `credential`.
    """
    row = current_viewer().row
    options = passkeys.start_passkey_reauthentication(row.account_id, row.session_id, clock.now())
    db.session.commit()
    return json_response(msgspec.json.encode(options))


@bp.route("/current/reauthentication/email-code", methods=["POST"])
@allow_kids
@bp.errors(EndUserAddressInvalid, OtherProofRequired, TooManyAttempts)
@bp.response(202, Accepted)
def send_reauthentication_code() -> dict:
    """Send a reauthentication code by email.

    For accounts that have neither a password nor an authenticator app.
    """
    reauthentication.enqueue_reauthentication_code(current_viewer().account_id, current_request_facts(), clock.now())
    db.session.commit()
    return {"status": "accepted"}


@bp.route("")
@bp.arguments(PageQuery, location="query")
@bp.response(200, page_of(ListedSession))
def list_sessions(query: PageInput) -> dict:
    """List your sessions, newest first."""
    viewer = current_viewer()
    page = paginate_query(Session.live(viewer.account_id, clock.now()), Session.id, query, "sessions")
    return page | {"items": [session_view(session, viewer.row.session_id) for session in page["items"]]}


@bp.route("", methods=["DELETE"])
@bp.response(204)
def delete_other_sessions() -> None:
    """End all your other sessions.

    Pending television sign-ins are denied, and all trusted devices lose their trust, this one included.
    """
    viewer = current_viewer()
    is_other = Session.id != viewer.row.session_id
    for session_id in sessions.end_sessions(viewer.account_id, clock.now(), "ended_by_owner", is_other):
        audit.record_event("session_ended", viewer.account_id, session=session_id)
    revocation.deny_pending_device_codes(viewer.account_id)
    trusted_devices.revoke_device_trust(viewer.account_id)
    db.session.commit()


@bp.route("/<session_id>", methods=["DELETE"])
@bp.response(204)
def delete_session(session_id: str) -> None:
    """End one of your sessions."""
    viewer, now = current_viewer(), clock.now()
    is_named = (Session.id == session_id, *Session.live_conditions(now))
    if not sessions.end_sessions(viewer.account_id, now, "ended_by_owner", *is_named):
        raise NotFound
    trusted_devices.revoke_session_device_trust(viewer.account_id, session_id)
    audit.record_event("session_ended", viewer.account_id, session=session_id)
    db.session.commit()


def session_view(session: Session, current_id: str | None = None) -> dict:
    """Return the JSON of `ListedSession`. `current_id` is the id of the calling session, if a viewer calls."""
    names = ("id", "device", "profile_id", "created_at", "authenticated_at", "last_seen_at", "expires_at")
    view = {name: getattr(session, name) for name in (*names, *ORIGIN_NAMES)}
    return view | {"current": session.id == current_id}
