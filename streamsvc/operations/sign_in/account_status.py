"""Disabling and enabling of accounts by operators. A change takes effect with the very next request."""

from datetime import datetime

from streamsvc.models import Account, MailedToken
from streamsvc.operations.credentials import access_revocation, revocation, sessions, trusted_devices
from streamsvc.operations.outbox import audit, security_events
from streamsvc.rules.refusals.requests import Invalid, NotFound
from streamsvc.rules.sign_in.inputs import AccountStatusInput
from streamsvc.storage.database import lock_existing_row
from streamsvc.worker import jobs


def set_account_status(account: Account, change: AccountStatusInput, now: datetime, actor: str) -> None:
    """Apply a change {status, reason, until}, in the caller's transaction. Raises Invalid, NotFound.

    Disabling ends all sessions and revokes mailed tokens, device codes and device trusts. `until` enables the account
    again at that time.
    """
    if account.status == "deleted":
        raise NotFound
    is_disabled, until = change["status"] == "disabled", change["until"]
    if until and not (is_disabled and until > now):
        raise Invalid(errors={"until": ["Must be in the future, and only set with status disabled."]})
    account.status, account.status_reason, account.disabled_until = change["status"], change["reason"], until
    action = "account_disabled" if is_disabled else "account_enabled"
    audit.record_event(action, account.id, actor=actor, reason=change["reason"])
    if is_disabled:
        sessions.end_sessions(account.id, now, "account_disabled")
        security_events.publish_account_disabled(account.id, until)
        MailedToken.revoke_all(account.id, now)
        revocation.deny_pending_device_codes(account.id)
        trusted_devices.revoke_device_trust(account.id)
        access_revocation.cancel_recoveries(account.id, now, actor, actor=actor)
    if until:
        jobs.enqueue_job("accounts.enable", {"account_id": account.id}, until)


@jobs.job_handler("accounts.enable", jobs.INTERACTIVE_LANE)
def enable_account(payload: dict, now: datetime) -> None:
    """Enable an account whose `disabled_until` has passed, unless its status was changed in the meantime."""
    account = lock_existing_row(Account, payload["account_id"])
    if account.status == "disabled" and account.disabled_until and account.disabled_until <= now:
        account.status, account.status_reason, account.disabled_until = "active", None, None
        audit.record_event("account_enabled", account.id, reason="disabled_until has passed")
