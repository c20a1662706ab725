"""Accounts for support: find, import, disable, enable, sign out, list plays."""

import sqlalchemy as sa

from streamsvc import clock
from streamsvc.blueprints.admin.audited_resources import ACCOUNT, ACCOUNT_SESSIONS, SESSION
from streamsvc.blueprints.sessions.sessions import session_view
from streamsvc.http.edge import Blueprint
from streamsvc.http.idempotency import idempotent
from streamsvc.http.pagination import paginate_query, total_members
from streamsvc.models import Account, Session
from streamsvc.models.accounts import GUEST
from streamsvc.operations.accounts import accounts
from streamsvc.operations.console import account_search
from streamsvc.operations.credentials import revocation, sessions, trusted_devices
from streamsvc.operations.outbox import audit
from streamsvc.operations.outbox.audited_changes import audited, created_id
from streamsvc.operations.playback import account_plays
from streamsvc.operations.sign_in import account_status
from streamsvc.rules.emails import email_key
from streamsvc.rules.inputs import AccountsInput, PageInput
from streamsvc.rules.refusals.accounts import EmailTaken
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.rules.sign_in.inputs import AccountStatusInput, ImportedAccountInput
from streamsvc.schemas.admin.accounts import AccountQuery, AdminAccount, AdminAccountPatch, ImportedAccount
from streamsvc.schemas.admin.playback import AccountPlayOut
from streamsvc.schemas.base import PageQuery, page_of
from streamsvc.schemas.sessions.sessions import ListedSession
from streamsvc.security.access import operator_only
from streamsvc.security.principals import current_operator
from streamsvc.storage.database import db, lock_row

bp = Blueprint(
    "admin accounts",
    __name__,
    url_prefix="/v1/admin/accounts",
    description="Find, import, disable and sign out viewers' accounts.",
)


@bp.route("")
@bp.arguments(AccountQuery, location="query")
@operator_only("support")
@bp.response(200, page_of(AdminAccount))
def list_accounts(query: AccountsInput) -> dict:
    """List accounts, newest first.

    `email` finds the account with that address. `q` finds accounts by any clue, ignoring case and accents: a whole
    email address, an id, an invoice number, or an app store's id of an account, a purchase or a payment by an index;
    anything else by comparing 10,000 accounts per page, so that a page may have few items, or none, and still a
    `next_cursor`.
    """
    if query["q"]:
        page = account_search.search_accounts(query["q"], query)
        return page | (total_members(len(page["items"]), is_cut=True) if query["include_total"] else {})
    accounts_query = sa.select(Account).where(Account.status != GUEST)
    if query["email"]:
        accounts_query = accounts_query.where(Account.email_key == email_key(query["email"]))
    return paginate_query(accounts_query, Account.id, query, "admin_accounts")


@bp.route("", methods=["POST"])
@bp.arguments(ImportedAccount)
@operator_only("admin")
@idempotent()
@bp.errors(EmailTaken)
@bp.response(201, AdminAccount)
@audited(ACCOUNT, created_id, "account_imported")
def import_account(body: ImportedAccountInput) -> Account:
    """Import an account from another system.

    `password_hash` takes the hash in the other system's format; the password keeps working and is rehashed at the
    next sign-in.
    """
    account_id = accounts.import_account(body, clock.now())
    audit.record_event("account_imported", account_id, actor=current_operator().id)
    return db.session.get_one(Account, account_id)


@bp.route("/<account_id>")
@operator_only("support")
@bp.response(200, AdminAccount)
def get_viewer_account(account_id: str) -> Account:
    """Retrieve an account."""
    return require_account(db.session.get(Account, account_id))


@bp.route("/<account_id>", methods=["PATCH"])
@bp.arguments(AdminAccountPatch)
@operator_only("support")
@bp.response(200, AdminAccount)
@audited(ACCOUNT, "account_id", "account_disabled", "account_enabled")
def update_viewer_account(body: AccountStatusInput, account_id: str) -> Account:
    """Disable or enable an account.

    `until` disables it for a limited time. A disabled account is signed out at once, on every device.
    """
    account = require_account(lock_row(Account, account_id))
    account_status.set_account_status(account, body, clock.now(), actor=current_operator().id)
    db.session.commit()
    return account


@bp.route("/<account_id>/sessions")
@bp.arguments(PageQuery, location="query")
@operator_only("support")
@bp.response(200, page_of(ListedSession))
def list_account_sessions(query: PageInput, account_id: str) -> dict:
    """List the sessions of an account, newest first."""
    account = require_account(db.session.get(Account, account_id))
    page = paginate_query(Session.live(account.id, clock.now()), Session.id, query, "admin_sessions")
    return page | {"items": [session_view(session) for session in page["items"]]}


@bp.route("/<account_id>/plays")
@bp.arguments(PageQuery, location="query")
@operator_only("support")
@bp.response(200, page_of(AccountPlayOut))
def list_account_plays(query: PageInput, account_id: str) -> dict:
    """List the plays of an account, newest first.

    Each stream that was started in the last 400 days, with why it ended and how much of it was watched; also those of
    profiles that have a PIN.
    """
    account = require_account(db.session.get(Account, account_id))
    return account_plays.list_plays(account.id, query, clock.now())


@bp.route("/<account_id>/sessions", methods=["DELETE"])
@operator_only("support")
@bp.response(204)
@audited(ACCOUNT_SESSIONS, "account_id", "session_ended")
def delete_account_sessions(account_id: str) -> None:
    """End all sessions of an account.

    Pending television sign-ins are denied and trusted devices lose their trust.
    """
    account = require_account(lock_row(Account, account_id))
    ended = sessions.end_sessions(account.id, clock.now(), "ended_by_operator")
    revocation.deny_pending_device_codes(account.id)
    trusted_devices.revoke_device_trust(account.id)
    audit.record_event("session_ended", account.id, actor=current_operator().id, sessions=len(ended))
    db.session.commit()


@bp.route("/<account_id>/sessions/<session_id>", methods=["DELETE"])
@operator_only("support")
@bp.response(204)
@audited(SESSION, "session_id", "session_ended")
def delete_account_session(account_id: str, session_id: str) -> None:
    """End one session of an account."""
    account = require_account(lock_row(Account, account_id))
    if not sessions.end_sessions(account.id, clock.now(), "ended_by_operator", Session.id == session_id):
        raise NotFound
    trusted_devices.revoke_session_device_trust(account.id, session_id)
    audit.record_event("session_ended", account.id, actor=current_operator().id, session=session_id)
    db.session.commit()


def require_account(account: Account | None) -> Account:
    """Raise NotFound if there is no such account; a guest has none."""
    if account is None or account.is_guest:
        raise NotFound
    return account
