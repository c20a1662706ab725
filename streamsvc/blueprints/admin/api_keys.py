"""API keys: create, list, revoke."""

import sqlalchemy as sa

from streamsvc import clock
from streamsvc.blueprints.admin.audited_resources import API_KEY
from streamsvc.http import idempotency
from streamsvc.http.edge import Blueprint
from streamsvc.http.idempotency import idempotent
from streamsvc.http.pagination import paginate_query
from streamsvc.models import ApiKey
from streamsvc.operations.accounts.api_keys import create_api_key_from_token
from streamsvc.operations.credentials import sessions
from streamsvc.operations.outbox import audit
from streamsvc.operations.outbox.audited_changes import audited, created_id
from streamsvc.rules.inputs import PageInput
from streamsvc.rules.refusals.accounts import ReauthenticationRequired
from streamsvc.rules.refusals.requests import Invalid, NotFound
from streamsvc.rules.sign_in.sessions import API_KEY_PREFIX
from streamsvc.schemas.admin.api_keys import ApiKeyOut, CreatedApiKey, NewApiKey
from streamsvc.schemas.base import PageQuery, page_of
from streamsvc.security.access import operator_only
from streamsvc.security.principals import current_operator
from streamsvc.storage import session_guard
from streamsvc.storage.database import db, execute_in_session

bp = Blueprint(
    "admin API keys",
    __name__,
    url_prefix="/v1/admin/api-keys",
    description="API keys for programs that operate the service.",
)


@bp.route("", methods=["POST"])
@bp.arguments(NewApiKey)
@operator_only("admin")
@idempotent(before_replay=lambda: current_operator().require_recent_authentication())
@bp.errors(ReauthenticationRequired)
@bp.response(201, CreatedApiKey)
@audited(API_KEY, created_id, "api_key_created")
def create_api_key(body: dict) -> dict:
    """Create an API key.

    The token is returned only once. A signed-in operator needs a recent reauthentication.
    """
    current_operator().require_recent_authentication()
    if body["expires_at"] and body["expires_at"] <= clock.now():
        raise Invalid(errors={"expires_at": ["expires_at must be in the future."]})
    token = API_KEY_PREFIX + idempotency.generate_secret()
    key = create_api_key_from_token(
        body["name"], body["scopes"], token, body["expires_at"], actor=current_operator().id
    )
    return {name: getattr(key, name) for name in ApiKeyOut().fields} | {"token": token}


@bp.route("")
@bp.arguments(PageQuery, location="query")
@operator_only("admin")
@bp.response(200, page_of(ApiKeyOut))
def list_api_keys(query: PageInput) -> dict:
    """List API keys, newest first.

    Revoked and expired keys are included.
    """
    return paginate_query(sa.select(ApiKey), ApiKey.id, query, "api_keys")


@bp.route("/<key_id>", methods=["DELETE"])
@operator_only("admin")
@bp.errors(ReauthenticationRequired)
@bp.response(204)
@audited(API_KEY, "key_id", "api_key_revoked")
def revoke_api_key(key_id: str) -> None:
    """Revoke an API key.

    Its next use is refused, and impersonation sessions that it started end. A signed-in operator needs a recent
    reauthentication.
    """
    current_operator().require_recent_authentication()
    revocation = (
        sa.update(ApiKey).where(ApiKey.id == key_id, ApiKey.revoked_at.is_(None)).values(revoked_at=clock.now())
    )
    if execute_in_session(revocation) == 0:
        raise NotFound
    session_guard.note_ended_credentials([key_id])
    sessions.end_impersonations(key_id, clock.now())
    audit.record_event("api_key_revoked", actor=current_operator().id, key=key_id)
    db.session.commit()
