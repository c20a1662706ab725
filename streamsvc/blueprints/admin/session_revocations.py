"""The end of every viewer's session at once, after a leak for example."""

from typing import Any

from streamsvc import clock
from streamsvc.blueprints.admin.audited_resources import SERVICE_EPOCH
from streamsvc.http.edge import Blueprint
from streamsvc.http.idempotency import idempotent
from streamsvc.operations.credentials import sessions
from streamsvc.operations.outbox.audited_changes import audited
from streamsvc.schemas.admin.session_revocations import NewSessionRevocation, SessionRevocation
from streamsvc.security.access import operator_only
from streamsvc.security.principals import current_operator

bp = Blueprint(
    "admin session revocations",
    __name__,
    url_prefix="/v1/admin/session-revocations",
    description="End every viewer's session of the service at once.",
)


@bp.route("", methods=["POST"])
@bp.arguments(NewSessionRevocation)
@operator_only("admin")
@idempotent()
@bp.response(201, SessionRevocation)
@bp.alt_response(200, schema=SessionRevocation(), description="With `dry_run`: how many sessions would end.")
@audited(SERVICE_EPOCH, None, "all_sessions_ended")
def create_session_revocation(body: dict) -> Any:
    """End all sessions of the service.

    Every viewer has to sign in again, on every device; support's impersonations end too, operators' own sessions stay.
    Takes effect with the very next request. Trusted devices lose their trust, and pending television sign-ins are
    denied. `dry_run` only counts the sessions. Instead of `session.ended` for each session, one `sessions.revoked` is
    published.
    """
    count = sessions.count_live_sessions(clock.now())
    if body["dry_run"]:
        return {"sessions": count, "dry_run": True}, 200
    sessions.end_all_sessions(current_operator().id, body["reason"], count)
    return {"sessions": count, "dry_run": False}
