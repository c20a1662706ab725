"""Starts two-step flows and finds them again for the client that started them: see models/pending_flows.py."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from streamsvc.models import PendingFlow
from streamsvc.operations.credentials.bindings import is_bound
from streamsvc.rules.sign_in.pending_flows import FLOW_LIFETIMES
from streamsvc.rules.sign_in.sessions import hash_token
from streamsvc.storage.database import db, fetch_one


def start_flow(
    kind: str, secret: str, now: datetime, session_id: str | None = None, binding: str | None = None, **data: Any
) -> None:
    """Start a flow that only the session `session_id` or the holder of `binding` can complete.

    In the caller's transaction. `data` is stored with the flow.
    """
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


def find_session_flow(kind: str, secret: str, session_id: str, now: datetime) -> sa.Row | None:
    """Find the open flow that this session started, or None."""
    flow = fetch_one(PendingFlow.select_open(kind, hash_token(secret), now))
    return flow if flow and flow.session_id == session_id else None


def find_browser_flow(kind: str, secret: str, binding: str, must_be_bound: bool, now: datetime) -> sa.Row | None:
    """Find the open flow that this browser or app started, or None.

    A flow that was started without a binding can be completed by any client that knows its secret, but never with a
    cookie as the result: pass `must_be_bound` for that.
    """
    flow = fetch_one(PendingFlow.select_open(kind, hash_token(secret), now))
    if flow is None or (flow.binding_hash is None and must_be_bound):
        return None
    return flow if flow.binding_hash is None or is_bound(flow.binding_hash, binding) else None
