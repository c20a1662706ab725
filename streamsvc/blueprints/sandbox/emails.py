"""Emails that the sandbox stored instead of sending."""

import sqlalchemy as sa

from streamsvc.http.edge import Blueprint
from streamsvc.http.pagination import paginate_query
from streamsvc.models import SandboxEmail
from streamsvc.operations.maintenance.worker_loop import wait_for_due_jobs
from streamsvc.rules.emails import email_key
from streamsvc.rules.inputs import EmailsInput
from streamsvc.schemas.base import page_of
from streamsvc.schemas.sandbox import EmailOut, EmailQuery
from streamsvc.security.access import operator_only

bp = Blueprint(
    "sandbox emails",
    __name__,
    url_prefix="/v1/sandbox",
    description="Emails that the sandbox stored instead of sending.",
)


@bp.route("/emails")
@bp.arguments(EmailQuery, location="query")
@operator_only("sandbox")
@bp.response(200, page_of(EmailOut))
def list_emails(query: EmailsInput) -> dict:
    """List emails, newest first.

    Includes emails that are being sent right now.
    """
    wait_for_due_jobs()
    emails = sa.select(SandboxEmail)
    if query["to"]:
        emails = emails.where(sa.func.lower(SandboxEmail.to).in_((email_key(query["to"]), query["to"].lower())))
    return paginate_query(emails, SandboxEmail.id, query, "emails")
