"""Text messages that the sandbox stored instead of sending."""

import sqlalchemy as sa

from streamsvc.http.edge import Blueprint
from streamsvc.http.pagination import paginate_query
from streamsvc.models import SandboxSms
from streamsvc.operations.maintenance.worker_loop import wait_for_due_jobs
from streamsvc.rules.inputs import EmailsInput
from streamsvc.schemas.base import page_of
from streamsvc.schemas.sandbox import SmsOut, SmsQuery
from streamsvc.security.access import operator_only

bp = Blueprint(
    "sandbox text messages",
    __name__,
    url_prefix="/v1/sandbox",
    description="Text messages that the sandbox stored instead of sending.",
)


@bp.route("/sms")
@bp.arguments(SmsQuery, location="query")
@operator_only("sandbox")
@bp.response(200, page_of(SmsOut))
def list_sms(query: EmailsInput) -> dict:
    """List text messages, newest first.

    Includes messages that are being sent right now.
    """
    wait_for_due_jobs()
    messages = sa.select(SandboxSms)
    if query["to"]:
        messages = messages.where(SandboxSms.to == query["to"])
    return paginate_query(messages, SandboxSms.id, query, "sms")
