"""Operators' sign-in, reauthentication and sessions."""

from flask import Response, make_response

from streamsvc import clock
from streamsvc.blueprints.admin.audited_resources import OPERATOR_SESSION, OPERATOR_SESSIONS
from streamsvc.blueprints.admin.operator_cookies import clear_operator_cookie, operator_token_in_cookie_on_request
from streamsvc.http import idempotency
from streamsvc.http.edge import Blueprint
from streamsvc.http.idempotency import idempotent
from streamsvc.http.pagination import paginate_query
from streamsvc.http.request_facts import current_request_facts
from streamsvc.models import OperatorSession
from streamsvc.operations.operators import credentials, impersonation, sign_in
from streamsvc.operations.outbox import audit
from streamsvc.operations.outbox.audited_changes import audited, own_id
from streamsvc.rules.inputs import PageInput
from streamsvc.rules.refusals.access import EndUserAddressInvalid
from streamsvc.rules.refusals.accounts import (
    InvalidCredentials,
    SecondFactorInvalid,
    SecondFactorRequired,
    TooManyAttempts,
    WrongCode,
)
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.rules.sign_in.inputs import OperatorSignInInput
from streamsvc.rules.sign_in.sessions import OPERATOR_LIFETIME, OPERATOR_TOKEN_PREFIX
from streamsvc.schemas.admin.operators import (
    CurrentOperatorSession,
    NewOperatorSession,
    OperatorReauthentication,
    OperatorSessionOut,
    OperatorSignedIn,
)
from streamsvc.schemas.base import PageQuery, page_of
from streamsvc.security.access import human_operator_only, public
from streamsvc.security.csrf import compute_csrf_token
from streamsvc.security.operators import Operator, load_new_session_operator
from streamsvc.security.principals import current_operator
from streamsvc.storage.database import db

bp = Blueprint("operator sessions", __name__, url_prefix="/v1/admin/sessions", description="Sign in as an operator.")


@bp.route("", methods=["POST"])
@bp.arguments(NewOperatorSession)
@public
@operator_token_in_cookie_on_request
@idempotent()
@bp.errors(EndUserAddressInvalid, InvalidCredentials, SecondFactorInvalid, SecondFactorRequired, TooManyAttempts)
@bp.response(201, OperatorSignedIn)
def create_operator_session(body: OperatorSignInInput) -> dict:
    """Sign in as an operator.

    Takes a password and a code, always both. A session ends after 12 hours, or after 30 minutes without use. With
    `cookie`, for browsers, the token is returned as a cookie instead: it counts only under `/v1/admin/`, only for pages
    of this host, and for changes only with the `csrf_token` as `X-CSRF-Token`.
    """
    now = clock.now()
    facts = current_request_facts()
    verified = sign_in.verify_operator_password(body, facts, now)
    sign_in.require_operator_second_factor(verified.operator.id, body, now)
    token = OPERATOR_TOKEN_PREFIX + idempotency.generate_secret()
    sign_in.create_operator_session(verified, token, facts, now)
    operator = load_new_session_operator(token)
    if body["cookie"]:
        operator.csrf_token = compute_csrf_token(operator.credential_id)
    return current_operator_view(operator) | {"token": token}


@bp.route("/current")
@human_operator_only
@bp.response(200, CurrentOperatorSession)
def get_current_operator() -> dict:
    """Retrieve the signed-in operator with their session and scopes."""
    return current_operator_view(current_operator())


@bp.route("/current", methods=["DELETE"])
@human_operator_only
@bp.response(204)
@audited(OPERATOR_SESSIONS, own_id, "session_ended")
def delete_current_operator_session() -> Response:
    """Sign out as an operator.

    The next use of the token is refused, and impersonations that the session began end.
    """
    _revoke_session(current_operator().own_session.session_id)
    return clear_operator_cookie(make_response("", 204))


@bp.route("/current/reauthentication", methods=["POST"])
@bp.arguments(OperatorReauthentication)
@human_operator_only
@bp.errors(TooManyAttempts, WrongCode)
@bp.response(204)
def reauthenticate_operator(body: dict) -> None:
    """Reauthenticate as an operator, with a code.

    Opens a ten-minute window to create and revoke API keys, manage operators and change credentials.
    """
    operator = current_operator()
    credentials.verify_operator_reauthentication(
        operator.id, operator.own_session.session_id, body["totp"], clock.now()
    )
    db.session.commit()


@bp.route("")
@bp.arguments(PageQuery, location="query")
@human_operator_only
@bp.response(200, page_of(OperatorSessionOut))
def list_operator_sessions(query: PageInput) -> dict:
    """List your operator sessions, newest first."""
    operator = current_operator()
    page = paginate_query(
        OperatorSession.live(operator.id, clock.now()), OperatorSession.id, query, "operator sessions"
    )
    return page | {
        "items": [operator_session_view(session, operator.own_session.session_id) for session in page["items"]]
    }


@bp.route("/<session_id>", methods=["DELETE"])
@human_operator_only
@bp.response(204)
@audited(OPERATOR_SESSION, "session_id", "session_ended")
def delete_operator_session(session_id: str) -> None:
    """End one of your operator sessions."""
    _revoke_session(session_id)


def _revoke_session(session_id: str) -> None:
    """End a session of the current operator, and the impersonations that it began. Raises NotFound."""
    operator = current_operator()
    if not impersonation.end_operator_sessions(operator.id, clock.now(), OperatorSession.id == session_id):
        raise NotFound
    audit.record_event("session_ended", session=session_id)
    db.session.commit()


def current_operator_view(operator: Operator) -> dict:
    """Return the JSON of `CurrentOperatorSession`."""
    row = operator.own_session
    session = {name: getattr(row, name) for name in ("created_at", "authenticated_at")}
    session |= {"id": row.session_id, "expires_at": OPERATOR_LIFETIME.ends_at(row.created_at, row.last_seen_at)}
    profile = {"id": operator.id, "email": row.email, "name": row.name, "role": row.role}
    scopes = {"write_scopes": sorted(operator.role.write_scopes), "read_scopes": sorted(operator.role.read_scopes)}
    document = {"csrf_token": operator.csrf_token} if operator.csrf_token else {}
    return document | {"session": session, "operator": profile | scopes}


def operator_session_view(session: OperatorSession, current_id: str) -> dict:
    """Return the JSON of `OperatorSessionOut`. `current_id` is the id of the calling session."""
    names = ("id", "created_at", "authenticated_at", "last_seen_at", "expires_at", "network", "user_agent")
    return {name: getattr(session, name) for name in names} | {"current": session.id == current_id}
