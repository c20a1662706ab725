"""What a viewer's request leaves for the check that its session still lives when it commits.

The check is in security/authentication.py.
"""

from collections.abc import Iterable

from streamsvc.storage.database import db

_ENDED, _IS_FINISHING = "ended_sessions", "is_finishing"


def note_ended_sessions(session_ids: Iterable[str]) -> None:
    """Note viewers' sessions that the current transaction ends: one may be that of the request itself."""
    db.session.info.setdefault(_ENDED, set()).update(session_ids)


def finish_even_if_signed_out() -> None:
    """Let the request commit even if its session ends, since it must record what the payment provider did."""
    db.session.info[_IS_FINISHING] = True


def needs_live_session(session_id: str) -> bool:
    """Whether a commit of a request of this session requires that it has not been ended."""
    return not db.session.info.get(_IS_FINISHING) and session_id not in db.session.info.get(_ENDED, ())
