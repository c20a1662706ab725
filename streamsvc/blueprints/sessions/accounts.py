"""Sign-up, and the viewer's own account."""

import msgspec
from flask import Response

from streamsvc import clock
from streamsvc.blueprints.sessions.cookies import (
    clear_session_cookies,
    presented_or_generated_binding,
    response_with_binding,
    token_in_cookie_on_request,
)
from streamsvc.blueprints.sessions.documents import account_view, sign_in_response
from streamsvc.http import idempotency
from streamsvc.http.edge import Blueprint, json_response
from streamsvc.http.idempotency import idempotent
from streamsvc.http.request_facts import current_request_facts
from streamsvc.models import Account, Profile
from streamsvc.operations.accounts import accounts, personal_data
from streamsvc.operations.credentials.attempts import hit_address_limit
from streamsvc.operations.credentials.mailbox_proofs import SIGN_UP
from streamsvc.operations.outbox import audit
from streamsvc.operations.sign_in import closing, password
from streamsvc.rules import rate_limits as limits
from streamsvc.rules.refusals.access import EndUserAddressInvalid
from streamsvc.rules.refusals.accounts import EmailTaken, ReauthenticationRequired, TokenInvalid, TooManyAttempts
from streamsvc.rules.refusals.billing import PaymentInProgress
from streamsvc.rules.sign_in.sessions import SESSION_TOKEN_PREFIX
from streamsvc.schemas.sessions.accounts import (
    AccountOut,
    AccountPatch,
    Export,
    MailedTokenIn,
    NewAccount,
    SignUpAccepted,
)
from streamsvc.schemas.sessions.sessions import SignedIn
from streamsvc.security import password_hashing
from streamsvc.security.access import accept_guest_token, owner_only, public
from streamsvc.security.principals import current_viewer, require_recent_authentication
from streamsvc.settings import current_settings
from streamsvc.storage.database import db, lock_existing_row

bp = Blueprint("accounts", __name__, url_prefix="/v1", description="Sign up and manage the account.")


@bp.route("/accounts", methods=["POST"])
@bp.arguments(NewAccount)
@public
@accept_guest_token
@token_in_cookie_on_request
@idempotent()
@bp.errors(EmailTaken, EndUserAddressInvalid, TooManyAttempts)
@bp.response(201, SignedIn)
@bp.alt_response(
    202,
    schema=SignUpAccepted(),
    description="With `STREAMSVC_SIGNUP=confirm`: an email says how to continue.",
)
def create_account(body: dict) -> Response:
    """Create an account.

    Creates an account with one profile and signs it in. A taken address is 409 `email_taken`; with
    `STREAMSVC_SIGNUP=confirm` every sign-up is a 202 and continues by email.
    """
    facts = current_request_facts()
    hit_address_limit(limits.SIGN_UP_ADDRESS, facts)
    accounts.check_password_strength(body["password"], body["email"], body["name"])
    details = {name: body[name] for name in ("email", "country", "time_zone", "locale", "name")}
    password_hash = password_hashing.hash_password(body["password"])
    new_account, now = accounts.NewAccount(password_hash=password_hash, **details), clock.now()
    if current_settings().signup == "confirm":
        binding = presented_or_generated_binding(body["cookie"])
        accounts.enqueue_sign_up(new_account, binding, facts, now)
        return response_with_binding({"status": "accepted"}, binding, body["cookie"], 202)
    account_id = accounts.create_account(new_account, now, verified=False)
    token = SESSION_TOKEN_PREFIX + idempotency.generate_secret()
    password.create_session(
        account_id, body["device"], body["remember"], token, facts, now, notify=False, method=SIGN_UP
    )
    return sign_in_response(token, body["cookie"])


@bp.route("/account")
@bp.response(200, AccountOut)
def get_account() -> dict:
    """Retrieve your account."""
    return account_view(current_viewer().row)


@bp.route("/account", methods=["DELETE"])
@bp.errors(PaymentInProgress, ReauthenticationRequired)
@bp.response(204)
def close_account() -> Response:
    """Close your account.

    Ends the subscription and all sessions at once. The emailed token restores the account within the grace period;
    afterwards everything is erased that tax law does not require to be kept. Requires a recent reauthentication.
    """
    require_recent_authentication()
    closing.close_account(current_viewer().account_id, clock.now())
    db.session.commit()
    response = Response(status=204)
    clear_session_cookies(response)
    return response


@bp.route("/account-restorations", methods=["PUT"])
@bp.arguments(MailedTokenIn)
@public
@bp.errors(EmailTaken, EndUserAddressInvalid, TokenInvalid, TooManyAttempts)
@bp.response(204)
def restore_account(body: dict) -> None:
    """Restore a closed account.

    Takes the emailed token. Sign in as before; the subscription does not come back.
    """
    hit_address_limit(limits.SECRET_BY_ADDRESS, current_request_facts())
    closing.restore_account(body["token"], clock.now())
    db.session.commit()


@bp.route("/account/export")
@owner_only
@bp.errors(ReauthenticationRequired)
@bp.response(200, Export)
def export_account() -> Response:
    """Export your personal data.

    Everything stored about the account, by table. Requires a recent reauthentication.
    """
    require_recent_authentication()
    export = personal_data.export_personal_data(current_viewer().account_id, clock.now())
    response = json_response(msgspec.json.encode(export))
    response.headers["Content-Disposition"] = 'attachment; filename="account.json"'
    return response


@bp.route("/account", methods=["PATCH"])
@bp.arguments(AccountPatch)
@bp.errors(ReauthenticationRequired)
@bp.response(200, AccountOut)
def update_account(body: dict) -> dict:
    """Update your account.

    Email address and password have their own endpoints. Another `time_zone` requires a recent reauthentication while a
    profile has viewing hours, since it moves them.
    """
    row = lock_existing_row(Account, current_viewer().account_id)
    if body.get("time_zone", row.time_zone) != row.time_zone and _has_viewing_hours(row.id):
        require_recent_authentication()
    for name, value in body.items():
        setattr(row, name, value)
    audit.record_event("account_changed", row.id, fields=sorted(body))
    db.session.commit()
    return {
        "id": row.id,
        "email": row.email,
        "email_verified": row.email_verified_at is not None,
        "name": row.name,
        "country": row.country,
        "time_zone": row.time_zone,
        "locale": row.locale,
        "created_at": row.created_at,
        "store_account_id": row.store_account_id,
    }


def _has_viewing_hours(account_id: str) -> bool:
    return any(
        profile.restrictions and profile.restrictions["viewing_hours"] for profile in Profile.list_owned(account_id)
    )
