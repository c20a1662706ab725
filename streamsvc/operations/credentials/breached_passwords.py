"""Checks passwords against the breached-password lists on disk and, if configured, against a range API."""

from streamsvc.gateways import breach_ranges
from streamsvc.gateways.peers import CallFailed, log_failure
from streamsvc.operations.outbox import audit
from streamsvc.rules.sign_in.passwords import normalize_password
from streamsvc.security import password_hashing
from streamsvc.settings import current_settings
from streamsvc.storage.database import db


def is_breached_password(password: str) -> bool:
    """Whether the password is known from a breach.

    If the range API does not respond in time, the password is accepted, with an entry in the log and the audit log.
    Commits that entry unless a transaction is open.
    """
    if password_hashing.is_listed_as_breached(password):
        return True
    url = current_settings().breach_range_url
    try:
        return bool(url) and breach_ranges.is_password_listed(url, normalize_password(password))
    except CallFailed as error:
        log_failure(breach_ranges.PEER.name, str(error))
        is_in_transaction = db.session().in_transaction()
        audit.record_event("breach_lookup_failed", actor="anonymous")
        if not is_in_transaction:
            db.session.commit()
        return False
