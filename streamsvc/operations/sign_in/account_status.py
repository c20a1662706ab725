"""Whether an account may be used at all: disabled and enabled by operators, counting from the very next request."""

from datetime import datetime

from streamsvc.models import Account, MailedToken, Session
from streamsvc.operations.credentials import revocation, trusted_devices
from streamsvc.operations.outbox import audit
from streamsvc.rules.refusals.requests import Invalid, NotFound
from streamsvc.storage.database import lock_row
from streamsvc.worker import jobs


def set_account_status(account: Account, change: dict, now: datetime, actor: str) -> None:
    """Set the status as {status, reason, until} asks, in the caller's unit of work. Raises Invalid, NotFound."""
    if account.status == "deleted":
        raise NotFound
    disable = change["status"] == "disabled"
    if change["until"] and not (disable and change["until"] > now):
        raise Invalid(errors={"until": ["Give a time to come, with status disabled."]})
    account.status, account.status_reason = change["status"], change["reason"]
    account.disabled_until = change["until"]
    audit.record_event(
        "account_disabled" if disable else "account_enabled", account.id, actor=actor, reason=change["reason"]
    )
    if disable:
        Session.revoke_all(account.id, now)
        MailedToken.revoke_all(account.id, now)
        revocation.deny_pending_device_codes(account.id)
        trusted_devices.revoke_device_trust(account.id)
    if change["until"]:
        jobs.enqueue_job("accounts.enable", {"account_id": account.id}, change["until"])


@jobs.job_handler("accounts.enable")
def enable_account(payload: dict, now: datetime) -> None:
    """The time is over, unless somebody decided anew."""
    account = lock_row(Account, payload["account_id"])
    if account.status == "disabled" and account.disabled_until and account.disabled_until <= now:
        account.status, account.status_reason, account.disabled_until = "active", None, None
        audit.record_event("account_enabled", account.id, reason="the time is over")
