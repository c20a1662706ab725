"""What a request leaves for the check that its session or API key is still valid when it commits.

The check is in security/authorization.py.
"""

from collections.abc import Iterable

from streamsvc.storage.database import db

_ENDED, _IS_FINISHING = "ended_credentials", "is_finishing"


def note_ended_credentials(ids: Iterable[str]) -> None:
    """Note what the current transaction ends or restricts: one may be that of the request itself.

    These are sessions of viewers and operators, API keys, and operators whose role changes.
    """
    db.session.info.setdefault(_ENDED, set()).update(ids)


def finish_even_if_signed_out() -> None:
    """Let the request commit even if its session ends, since it must record what the payment provider did."""
    db.session.info[_IS_FINISHING] = True


def needs_valid_credential(*ids: str) -> bool:
    """Whether a commit of a request with this session or API key requires that it is still valid."""
    return not db.session.info.get(_IS_FINISHING) and db.session.info.get(_ENDED, set()).isdisjoint(ids)
