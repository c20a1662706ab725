"""The audit log and the state of its hash chain."""

from typing import Literal

import sqlalchemy as sa

from streamsvc.http.edge import Blueprint
from streamsvc.http.pagination import paginate_query
from streamsvc.models import AuditEvent
from streamsvc.operations.outbox import audit
from streamsvc.rules.inputs import AuditInput
from streamsvc.schemas.admin.accounts import AuditChainState, AuditEventOut, AuditQuery
from streamsvc.schemas.base import page_of
from streamsvc.security.access import operator_only
from streamsvc.storage.database import fetch_one

AUDIT_FILTERS: tuple[Literal["account_id", "action", "object_id", "object_type"], ...] = (
    "account_id",
    "action",
    "object_id",
    "object_type",
)

bp = Blueprint("admin audit log", __name__, url_prefix="/v1/admin/audit", description="The audit log.")


@bp.route("")
@bp.arguments(AuditQuery, location="query")
@operator_only("admin")
@bp.response(200, page_of(AuditEventOut))
def list_audit_events(query: AuditInput) -> dict:
    """List audit events, newest first.

    Filter by `account_id`, by `action`, or by `object_id`, with `object_type` where ids of several kinds are alike. An
    operator's change has the changed members in `details.old` and `details.new`.
    """
    events = sa.select(AuditEvent)
    for name in AUDIT_FILTERS:
        if query[name]:
            events = events.where(getattr(AuditEvent, name) == query[name])
    return paginate_query(events, AuditEvent.seq, query, "audit")


@bp.route("/chain")
@operator_only("admin")
@bp.response(200, AuditChainState)
def get_audit_chain() -> dict:
    """Verify the audit log's hash chain.

    `first_break` is the first row that was changed, removed or inserted, null if there is none. Store `head` outside
    the service: comparing it later also detects a log that was rewritten as a whole.
    """
    newest = fetch_one(sa.select(AuditEvent.seq, AuditEvent.hash).order_by(AuditEvent.seq.desc()).limit(1))
    seq, head = newest or (0, None)
    return {"rows": seq, "head": head, "first_break": audit.find_first_break()}
