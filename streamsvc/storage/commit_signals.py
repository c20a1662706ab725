"""Signals about what a transaction changed, sent once it is committed: what is rolled back is never reported."""

from typing import Any

from blinker import Signal
from sqlalchemy import event
from sqlalchemy.orm import Session

from streamsvc.storage.database import db

_WAITING = "signals"


def send_after_commit(signal: Signal, **data: Any) -> None:
    """Send a signal with `data` after the commit of the caller's transaction, in the process that commits it."""
    db.session().info.setdefault(_WAITING, []).append((signal, data))


@event.listens_for(db.session, "after_commit")
def _send_signals(session: Session) -> None:
    for signal, data in session.info.pop(_WAITING, ()):
        signal.send(None, **data)


@event.listens_for(db.session, "after_rollback")
def _forget_signals(session: Session) -> None:
    session.info.pop(_WAITING, None)
