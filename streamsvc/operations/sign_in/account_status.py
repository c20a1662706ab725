"""Whether an account may be used at all: disabled and enabled by operators, counting from the very next request."""

from datetime import datetime

from streamsvc.models import Account, Proof, Session
from streamsvc.operations.credentials import revocation, trusted_devices
from streamsvc.operations.outbox import audit
from streamsvc.rules.refusals.requests import Invalid, NotFound
from streamsvc.storage.database import lock
from streamsvc.worker import jobs


def put(account: Account, asked: dict, now: datetime, actor: str) -> None:
    """Set the status as {status, reason, until} asks, in the caller's unit of work. Raises Invalid, NotFound."""
    if account.status == "deleted":
        raise NotFound
    disable = asked["status"] == "disabled"
    if asked["until"] and not (disable and asked["until"] > now):
        raise Invalid(errors={"until": ["Give a time to come, with status disabled."]})
    account.status, account.status_reason = asked["status"], asked["reason"]
    account.disabled_until = asked["until"]
    audit.record("account_disabled" if disable else "account_enabled", account.id, actor=actor, reason=asked["reason"])
    if disable:
        Session.end_all(account.id, now)
        Proof.withdraw(account.id, now)
        revocation.stop_televisions(account.id)
        trusted_devices.distrust(account.id)
    if asked["until"]:
        jobs.enqueue("accounts.enable", {"account_id": account.id}, asked["until"])


@jobs.handler("accounts.enable")
def enable(payload: dict, now: datetime) -> None:
    """The time is over, unless somebody decided anew."""
    account = lock(Account, payload["account_id"])
    if account.status == "disabled" and account.disabled_until and account.disabled_until <= now:
        account.status, account.status_reason, account.disabled_until = "active", None, None
        audit.record("account_enabled", account.id, reason="the time is over")
