"""Sign-in by mail: who reads the mailbox, in the browser that asked for the link, is let in once.

Asking costs the same steps whoever is asked for; whether there is such an account only the worker finds out.
"""

from datetime import datetime

import sqlalchemy as sa

from streamsvc.models import Account, MailedToken
from streamsvc.operations.accounts.accounts import can_sign_in
from streamsvc.operations.credentials import mailed_tokens
from streamsvc.operations.credentials.attempts import is_mail_allowed
from streamsvc.operations.credentials.bindings import is_bound
from streamsvc.operations.outbox import audit, mail
from streamsvc.operations.sign_in import password_changes
from streamsvc.rules import rate_limits as limits
from streamsvc.rules.emails import email_key
from streamsvc.rules.refusals.accounts import TokenInvalid
from streamsvc.rules.sign_in.sessions import hash_token
from streamsvc.storage.database import fetch_one, lock_row
from streamsvc.worker import jobs


def enqueue_magic_link(email: str, binding: str, now: datetime) -> None:
    """Leave it to the worker, in the caller's unit of work. Too many are dropped without a word."""
    key = email_key(email)
    if is_mail_allowed(limits.MAIL_TO_ADDRESS, f"magic_link {key}"):
        jobs.enqueue_job("accounts.magic_link", {"email_key": key, "binding_hash": hash_token(binding)}, now)


@jobs.job_handler("accounts.magic_link")
def send_magic_link(payload: dict, now: datetime) -> None:
    """Mail a link to the account's own address, if there is one."""
    account = Account.find_by_email_key(payload["email_key"])
    if account and account.status == "active":
        bound = {"binding_hash": payload["binding_hash"]}
        mail.enqueue_token_mail("magic_link", account.email, account.id, now, revoke_previous=False, **bound)
        audit.record_event("authn_magic_link_asked", account.id)


def get_magic_link_account_id(token: str, binding: str, now: datetime) -> str:
    """The id of the account that the link opens in this browser; the link is still good. Raises TokenInvalid."""
    found = fetch_one(
        sa.select(MailedToken.account_id, MailedToken.data).where(
            MailedToken.kind == "magic_link",
            MailedToken.token_hash == hash_token(token),
            *MailedToken.open_conditions(now),
        )
    )
    if found is None or not is_bound(found.data.get("binding_hash"), binding):
        raise TokenInvalid
    return found.account_id


def consume_magic_link(token: str, now: datetime) -> str:
    """Use the link up, in the caller's unit of work; the account's id. Raises TokenInvalid."""
    proof = mailed_tokens.consume_mailed_token(token, now, "magic_link")
    if proof is None:
        raise TokenInvalid
    password_changes.verify_address(proof, now)
    if not can_sign_in(lock_row(Account, proof.account_id)):
        raise TokenInvalid
    return proof.account_id
