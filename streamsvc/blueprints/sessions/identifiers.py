"""Usernames and telephone numbers to sign in with."""

from streamsvc import clock
from streamsvc.http.edge import Blueprint
from streamsvc.http.request_facts import current_request_facts
from streamsvc.operations.sign_in import identifiers, phones
from streamsvc.rules.refusals.access import EndUserAddressInvalid
from streamsvc.rules.refusals.accounts import ReauthenticationRequired, TooManyAttempts, UsernameTaken, WrongCode
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.schemas.sessions.accounts import Accepted
from streamsvc.schemas.sessions.identifiers import Identifiers, PhoneCode, PhoneIn, UsernameIn
from streamsvc.security.principals import current_viewer, require_recent_authentication
from streamsvc.storage.database import db

bp = Blueprint(
    "sign-in identifiers",
    __name__,
    url_prefix="/v1/account",
    description="Usernames and telephone numbers to sign in with, beside the email address.",
)


@bp.route("/identifiers")
@bp.response(200, Identifiers)
def get_identifiers() -> dict:
    """Retrieve your sign-in identifiers."""
    row = current_viewer().row
    return identifiers.identifiers_view(row.account_id, row.email, clock.now())


@bp.route("/username", methods=["PUT"])
@bp.arguments(UsernameIn)
@bp.errors(NotFound, ReauthenticationRequired, UsernameTaken)
@bp.response(200, Identifiers)
def set_username(body: dict) -> dict:
    """Set or change your username.

    It is stored in lower case. A name that another account has, that looks like one, or that is reserved, is 409
    `username_taken`. 404 unless `STREAMSVC_USERNAMES` is on. Requires a recent reauthentication.
    """
    require_recent_authentication()
    row, now = current_viewer().row, clock.now()
    identifiers.set_username(row.account_id, row.session_id, body["username"], now)
    document = identifiers.identifiers_view(row.account_id, row.email, now)
    db.session.commit()
    return document


@bp.route("/username", methods=["DELETE"])
@bp.errors(NotFound, ReauthenticationRequired)
@bp.response(204)
def delete_username() -> None:
    """Remove your username.

    Others can take it at once. Requires a recent reauthentication.
    """
    require_recent_authentication()
    identifiers.remove_username(current_viewer().account_id, clock.now())
    db.session.commit()


@bp.route("/phone", methods=["PUT"])
@bp.arguments(PhoneIn)
@bp.errors(EndUserAddressInvalid, NotFound, ReauthenticationRequired, TooManyAttempts)
@bp.response(202, Accepted)
def request_phone(body: dict) -> dict:
    """Add or change your telephone number.

    A text message brings a code, which `POST /v1/account/phone/verification` takes; until then nothing changes. 404
    unless `STREAMSVC_PHONES` is on. Requires a recent reauthentication.
    """
    require_recent_authentication()
    phones.start_phone_verification(current_viewer().account_id, body["phone"], current_request_facts(), clock.now())
    db.session.commit()
    return {"status": "accepted"}


@bp.route("/phone/verification", methods=["POST"])
@bp.arguments(PhoneCode)
@bp.errors(WrongCode)
@bp.response(200, Identifiers)
def verify_phone(body: dict) -> dict:
    """Verify your telephone number with the code of the text message.

    The code works once, for ten minutes; five attempts are possible. If another account had the number, it loses it.
    """
    row, now = current_viewer().row, clock.now()
    phones.complete_phone_verification(row.account_id, row.session_id, body["code"], now)
    document = identifiers.identifiers_view(row.account_id, row.email, now)
    db.session.commit()
    return document


@bp.route("/phone", methods=["DELETE"])
@bp.errors(NotFound, ReauthenticationRequired)
@bp.response(204)
def delete_phone() -> None:
    """Remove your telephone number.

    Also cancels one that awaits its code. Requires a recent reauthentication.
    """
    require_recent_authentication()
    phones.remove_phone(current_viewer().account_id, clock.now())
    db.session.commit()
