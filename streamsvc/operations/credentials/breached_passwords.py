"""Whether attackers know a password: by the lists on this machine, then, where the settings name one, by a service."""

from flask import current_app

from streamsvc.gateways import breach_ranges
from streamsvc.gateways.calls import CallFailed
from streamsvc.operations.outbox import audit
from streamsvc.rules.sign_in.passwords import normalize_password
from streamsvc.security import password_hashing
from streamsvc.storage.database import db


def is_breached_password(password: str) -> bool:
    """A service that does not answer in time stops nobody: that is told in the log and the audit log. Commits then,
    unless it is asked within a unit of work."""
    if password_hashing.is_listed_as_breached(password):
        return True
    url = current_app.extensions["settings"].breach_range_url
    try:
        return bool(url) and breach_ranges.is_password_listed(url, normalize_password(password))
    except CallFailed as error:
        password_hashing.log.warning("breached passwords cannot be looked up: %s", type(error).__name__)
        within = db.session().in_transaction()
        audit.record_event("breach_lookup_failed", actor="anonymous")
        if not within:
            db.session.commit()
        return False
