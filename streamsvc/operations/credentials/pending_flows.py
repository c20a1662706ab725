"""Beginning something that only who began it may finish, once and soon: see models/pending_flows.py."""

from datetime import datetime

from streamsvc.models import PendingFlow
from streamsvc.operations.credentials.bindings import is_bound
from streamsvc.rules.sign_in.pending_flows import FLOW_LIFETIMES
from streamsvc.rules.sign_in.sessions import hash_token
from streamsvc.storage.database import db, fetch_one


def start_flow(
    kind: str, secret: str, now: datetime, session_id: str | None = None, binding: str | None = None, **data
):
    """In the caller's unit of work. `session_id` or `binding` say who may finish it."""
    db.session.add(
        PendingFlow(
            kind=kind,
            secret_hash=hash_token(secret),
            session_id=session_id,
            binding_hash=hash_token(binding) if binding else None,
            data=data,
            created_at=now,
            expires_at=now + FLOW_LIFETIMES[kind],
        )
    )


def find_session_flow(kind: str, secret: str, session_id: str, now: datetime):
    """The open one that this session began, or None."""
    found = fetch_one(PendingFlow.select_open(kind, hash_token(secret), now))
    return found if found and found.session_id == session_id else None


def find_browser_flow(kind: str, secret: str, binding: str, must_be_bound: bool, now: datetime):
    """The open one that this browser or app began, or None.

    One that was begun without a binding is tied to nobody but who knows its secret. That never signs a browser in by
    cookie: `must_be_bound`.
    """
    found = fetch_one(PendingFlow.select_open(kind, hash_token(secret), now))
    if found is None or (found.binding_hash is None and must_be_bound):
        return None
    return found if found.binding_hash is None or is_bound(found.binding_hash, binding) else None
