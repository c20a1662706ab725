"""Password change and reset, email change and verification."""

from flask import Response

from streamsvc import clock
from streamsvc.blueprints.sessions.cookies import current_prover, new_token_response
from streamsvc.http.edge import Blueprint
from streamsvc.http.request_facts import current_request_facts
from streamsvc.operations.accounts import accounts
from streamsvc.operations.credentials.attempts import hit_address_limit
from streamsvc.operations.sign_in import email_changes, password_changes, reauthentication
from streamsvc.rules import rate_limits as limits
from streamsvc.rules.refusals.access import EndUserAddressInvalid
from streamsvc.rules.refusals.accounts import (
    EmailTaken,
    ReauthenticationRequired,
    TokenInvalid,
    TooManyAttempts,
    WrongPassword,
)
from streamsvc.schemas.sessions.accounts import Accepted, EmailConfirmation, EmailIn, PasswordReset
from streamsvc.schemas.sessions.sessions import NewToken, PasswordChange
from streamsvc.security import password_hashing
from streamsvc.security.access import public
from streamsvc.security.principals import current_viewer, require_recent_authentication
from streamsvc.storage.database import db

bp = Blueprint(
    "passwords",
    __name__,
    url_prefix="/v1",
    description="Change and reset passwords, change and verify email addresses.",
)


@bp.route("/account/password", methods=["PUT"])
@bp.arguments(PasswordChange)
@bp.errors(TooManyAttempts, WrongPassword)
@bp.response(204)
@bp.alt_response(200, schema=NewToken(), description="The new session token. Only with `rotate`.")
def change_password(body: dict) -> Response:
    """Change your password.

    All other sessions end. A wrong `current_password` is 422 `invalid_credentials`.
    """
    row = current_viewer().row
    accounts.check_password_strength(body["password"], row.email, row.account_name)
    reauthentication.verify_current_password(row.account_id, body["current_password"], "current_password")
    new_hash = password_hashing.hash_password(body["password"], known_device=True)
    password_changes.set_password(row.account_id, new_hash, clock.now(), kept_session_id=row.session_id)
    token = reauthentication.renew_session_token(current_viewer(), body["rotate"])
    db.session.commit()
    return new_token_response(token)


@bp.route("/account/email", methods=["PUT"])
@bp.arguments(EmailIn)
@bp.errors(EndUserAddressInvalid, ReauthenticationRequired, TooManyAttempts)
@bp.response(202, Accepted)
def request_email_change(body: dict) -> dict:
    """Change your email address.

    Takes effect when the new address is confirmed. The old address is notified and can undo the change for a week.
    Requires a recent reauthentication.
    """
    require_recent_authentication()
    row = current_viewer().row
    email_changes.start_email_change(
        row.account_id, row.session_id, body["email"], current_request_facts(), clock.now()
    )
    db.session.commit()
    return {"status": "accepted"}


@bp.route("/password-resets", methods=["POST"])
@bp.arguments(EmailIn)
@public
@bp.errors(EndUserAddressInvalid, TooManyAttempts)
@bp.response(202, Accepted)
def request_password_reset(body: dict) -> dict:
    """Request a password reset.

    The response does not reveal whether the address has an account. Links of earlier requests stay valid until they
    expire or one of them is used. Beyond five requests an hour from one network address, no new link is sent while one
    is fresh.
    """
    password_changes.enqueue_password_reset(body["email"], current_request_facts(), clock.now())
    db.session.commit()
    return {"status": "accepted"}


@bp.route("/password-resets", methods=["PUT"])
@bp.arguments(PasswordReset)
@public
@bp.errors(EndUserAddressInvalid, TokenInvalid, TooManyAttempts)
@bp.response(204)
def reset_password(body: dict) -> None:
    """Reset a password with an emailed token.

    All sessions end, and all waits after wrong passwords, second factors and PINs. A second factor stays in force,
    unless `revoke_access_since` revokes it: everything that was added from that moment on, within the last seven days.
    If it is the first proof of the address, and does not come with the session that signed up, everything that was set
    before is revoked.
    """
    hit_address_limit(limits.SECRET_BY_ADDRESS, current_request_facts())
    password_changes.check_new_password(body["token"], body["password"], clock.now())
    new_hash = password_hashing.hash_password(body["password"])
    prover = current_prover()
    password_changes.reset_password(body["token"], new_hash, clock.now(), prover, body["revoke_access_since"])
    db.session.commit()


@bp.route("/email-verifications", methods=["POST"])
@bp.errors(EndUserAddressInvalid, TooManyAttempts)
@bp.response(202, Accepted)
def request_email_verification() -> dict:
    """Send the verification email again.

    Earlier links stay valid until one of them is used.
    """
    password_changes.enqueue_email_verification(current_viewer().account_id, current_request_facts(), clock.now())
    db.session.commit()
    return {"status": "accepted"}


@bp.route("/email-verifications", methods=["PUT"])
@bp.arguments(EmailConfirmation)
@public
@bp.errors(EmailTaken, EndUserAddressInvalid, TokenInvalid, TooManyAttempts)
@bp.response(204)
def verify_email(body: dict) -> None:
    """Verify an email address with an emailed token.

    Confirms the address of a new account or an email change, or undoes a change from the old address. Send the token of
    the session that signed up, or the binding of the sign-up: the first proof of an address that comes from elsewhere
    revokes everything that was set before, and an email lets the owner set a password.
    """
    hit_address_limit(limits.SECRET_BY_ADDRESS, current_request_facts())
    password_changes.confirm_email(body["token"], clock.now(), current_prover(body["binding"]))
    db.session.commit()
