"""Sign-in by a mailed link, which works once and only in the browser that requested it.

A request takes the same steps whether or not the account exists; only the worker looks for the account.
"""

from datetime import datetime

import sqlalchemy as sa

from streamsvc.models import Account, MailedToken
from streamsvc.operations.accounts.accounts import can_sign_in
from streamsvc.operations.credentials import mailed_tokens
from streamsvc.operations.credentials.bindings import is_bound
from streamsvc.operations.credentials.mail_limits import count_mail_request, is_token_mail_due
from streamsvc.operations.credentials.mailbox_proofs import Prover
from streamsvc.operations.outbox import audit, mail
from streamsvc.operations.sign_in import password_changes
from streamsvc.rules.emails import email_key
from streamsvc.rules.refusals.accounts import TokenInvalid
from streamsvc.rules.request_facts import RequestFacts
from streamsvc.rules.sign_in.sessions import hash_token
from streamsvc.storage.database import fetch_one, lock_existing_row
from streamsvc.worker import jobs


def enqueue_magic_link(email: str, binding: str, facts: RequestFacts, now: datetime) -> None:
    """Leave the request to the worker, in the caller's transaction, with the same steps beyond the mail limits."""
    key = email_key(email)
    request = count_mail_request(f"magic_link {key}", facts)
    jobs.enqueue_job("accounts.magic_link", {"email_key": key, "binding_hash": hash_token(binding), **request}, now)


@jobs.job_handler("accounts.magic_link", jobs.INTERACTIVE_LANE)
def send_magic_link(payload: dict, now: datetime) -> None:
    """Mail a link to the account's own address, if an active account has this email."""
    account = Account.find_by_email_key(payload["email_key"])
    if account and account.status == "active" and is_token_mail_due("magic_link", account.id, payload, now):
        data = {"binding_hash": payload["binding_hash"]}
        mail.enqueue_token_mail("magic_link", account.email, account.id, now, **data)
        audit.record_event("authn_magic_link_asked", account.id)


def get_magic_link_account_id(token: str, binding: str, now: datetime) -> str:
    """Return the account that the link signs in to in this browser; does not consume the link. Raises TokenInvalid."""
    mailed_token = fetch_one(
        sa.select(MailedToken.account_id, MailedToken.data).where(
            MailedToken.kind == "magic_link",
            MailedToken.token_hash == hash_token(token),
            *MailedToken.open_conditions(now),
        )
    )
    if mailed_token is None or not is_bound(mailed_token.data.get("binding_hash"), binding):
        raise TokenInvalid
    return mailed_token.account_id


def consume_magic_link(token: str, now: datetime, prover: Prover) -> str:
    """Consume the link and verify the address, in the caller's transaction; the account's id. Raises TokenInvalid."""
    mailed_token = mailed_tokens.consume_mailed_token(token, now, "magic_link")
    if mailed_token is None:
        raise TokenInvalid
    password_changes.verify_address(mailed_token, now, prover)
    if not can_sign_in(lock_existing_row(Account, mailed_token.owner_id)):
        raise TokenInvalid
    return mailed_token.owner_id
