"""What support does at an owner's request: their timeline, a password reset, an export, closing the account."""

import msgspec
from flask import Response

from streamsvc import clock
from streamsvc.blueprints.admin.accounts import require_account
from streamsvc.blueprints.admin.audited_resources import ACCOUNT
from streamsvc.http.edge import Blueprint, json_response
from streamsvc.http.idempotency import idempotent
from streamsvc.models import Account
from streamsvc.operations.accounts import personal_data
from streamsvc.operations.console import timeline
from streamsvc.operations.outbox import audit, mail
from streamsvc.operations.outbox.audited_changes import audited
from streamsvc.operations.sign_in import closing
from streamsvc.rules.inputs import TimelineInput
from streamsvc.rules.refusals.accounts import AccountNotActive, ReauthenticationRequired
from streamsvc.rules.refusals.billing import PaymentInProgress
from streamsvc.schemas.admin.accounts import AdminAccount
from streamsvc.schemas.admin.console import TimelineEntry, TimelineQuery
from streamsvc.schemas.base import page_of
from streamsvc.schemas.sessions.accounts import Export
from streamsvc.security.access import operator_only
from streamsvc.security.principals import current_operator
from streamsvc.storage.database import db, lock_row

bp = Blueprint(
    "admin account requests",
    __name__,
    url_prefix="/v1/admin/accounts",
    description="An account's timeline, password resets, exports, closing.",
)


@bp.route("/<account_id>/timeline")
@bp.arguments(TimelineQuery, location="query")
@operator_only("support")
@bp.response(200, page_of(TimelineEntry))
def list_account_timeline(query: TimelineInput, account_id: str) -> dict:
    """List everything that happened to an account, newest first.

    Sign-ins, devices, plays, mails with a link, events, audit events; with the scope `billing` also invoices, payments
    and credit notes. The details of audit events, with the members that an operator changed, need the scope `admin`.
    """
    account, operator = require_account(db.session.get(Account, account_id)), current_operator()
    readable = [kind for kind, source in timeline.SOURCES.items() if operator.has_scope(source.scope, write=False)]
    kinds = [kind for kind in readable if query["kind"] in (None, kind)]
    page = timeline.list_timeline(account.id, kinds, query)
    if not operator.has_scope("admin", write=False):
        for entry in page["items"]:
            entry["details"] = {} if entry["kind"] == "audit" else entry["details"]
    return page


@bp.route("/<account_id>/password-resets", methods=["POST"])
@operator_only("support")
@idempotent()
@bp.errors(AccountNotActive)
@bp.response(202, AdminAccount)
@audited(ACCOUNT, "account_id", "authn_password_reset_asked")
def send_account_password_reset(account_id: str) -> Account:
    """Email an account's owner a link to set a new password.

    To the account's own address. The password works until the link is used.
    """
    account = require_account(lock_row(Account, account_id))
    if account.status != "active":
        raise AccountNotActive
    mail.enqueue_token_mail("password_reset", account.email, account.id, clock.now())
    audit.record_event("authn_password_reset_asked", account.id, actor=current_operator().id)
    return account


@bp.route("/<account_id>/exports", methods=["POST"])
@operator_only("admin")
@bp.errors(ReauthenticationRequired)
@bp.response(200, Export)
@audited(ACCOUNT, "account_id", "account_exported")
def export_account_data(account_id: str) -> Response:
    """Export the personal data of an account.

    What its owner gets from `GET /v1/account/export`, for a request in writing. It is recorded in the audit log. A
    signed-in operator needs a recent reauthentication.
    """
    current_operator().require_recent_authentication()
    account = require_account(db.session.get(Account, account_id))
    export = personal_data.export_personal_data(account.id, clock.now())
    audit.record_event("account_exported", account.id, actor=current_operator().id)
    db.session.commit()
    response = json_response(msgspec.json.encode(export))
    response.headers["Content-Disposition"] = 'attachment; filename="account.json"'
    return response


@bp.route("/<account_id>", methods=["DELETE"])
@operator_only("admin")
@bp.errors(AccountNotActive, PaymentInProgress, ReauthenticationRequired)
@bp.response(204)
@audited(ACCOUNT, "account_id", "account_closed")
def close_viewer_account(account_id: str) -> None:
    """Close an account.

    As its owner would: the subscription and all sessions end at once, the emailed link restores the account within the
    grace period, and then everything is erased that tax law does not require to be kept. A signed-in operator needs a
    recent reauthentication.
    """
    current_operator().require_recent_authentication()
    account = require_account(lock_row(Account, account_id))
    if account.status == "deleted":
        raise AccountNotActive(detail="This account is closed already.")
    closing.close_account(account.id, clock.now(), current_operator().id)
    db.session.commit()
