"""The streams that ended before their playback tokens expire, so that a stopped stream's token is refused.

Media servers verify a token for every segment, so this list is kept in each process's memory. It is read from the
database at most once a second, by one of the requests that need it. While the database is unavailable, the last list
counts, and tokens end when they expire; a process that has never read it refuses.
"""

import logging
import threading
from datetime import datetime, timedelta

import sqlalchemy as sa
from flask import current_app
from sqlalchemy.exc import SQLAlchemyError

from streamsvc.models import Session, Stream
from streamsvc.rules.playback.stream_rules import STREAM_TTL
from streamsvc.storage.compiled_statements import CompiledStatement
from streamsvc.storage.database import UtcTime

MAX_AGE = timedelta(seconds=1)
COMMIT_DELAY = timedelta(seconds=10)
"""How long before it is visible a transaction may have set the time at which a stream ended."""
log = logging.getLogger("streamsvc.playback")


class StoppedStreams:
    """The ids of streams that ended within the lifetime of a playback token."""

    def __init__(self) -> None:
        self._refreshing = threading.Lock()
        self._ended_at: dict[str, datetime] = {}
        self._refreshed_at: datetime | None = None

    def contains(self, stream_id: str, now: datetime) -> bool:
        """Whether a stream has ended lately, as of a second ago at most."""
        if self._is_old(now) and self._refreshing.acquire(blocking=self._refreshed_at is None):
            try:
                if self._is_old(now):
                    self._refresh(now)
            finally:
                self._refreshing.release()
        return stream_id in self._ended_at

    def _is_old(self, now: datetime) -> bool:
        return self._refreshed_at is None or not timedelta(0) <= now - self._refreshed_at < MAX_AGE

    def _refresh(self, now: datetime) -> None:
        """Add the streams that ended since the last time, and forget those whose tokens have expired."""
        oldest = now - STREAM_TTL - COMMIT_DELAY
        since = oldest if self._refreshed_at is None else max(oldest, self._refreshed_at - COMMIT_DELAY)
        try:
            rows = ENDED_STREAMS.all(since=since)
        except SQLAlchemyError:
            if self._refreshed_at is None:
                raise
            log.warning("the list of stopped streams could not be read; the last one is used")
        else:
            recent = {stream_id: at for stream_id, at in self._ended_at.items() if at > oldest}
            self._ended_at = recent | {row.id: row.ended_at for row in rows}
        self._refreshed_at = now


def is_stopped(stream_id: str, now: datetime) -> bool:
    """Whether a stream has ended lately, or its session has."""
    return current_app.extensions.setdefault("stopped_streams", StoppedStreams()).contains(stream_id, now)


_since = sa.bindparam("since", type_=UtcTime)
ENDED_STREAMS = CompiledStatement(
    sa.union_all(
        sa.select(Stream.id, Stream.ended_at).where(Stream.ended_at > _since),
        sa.select(Stream.id, Session.ended_at)
        .join(Session, sa.and_(Session.account_id == Stream.account_id, Session.id == Stream.session_id))
        .where(Session.ended_at > _since, Stream.ended_at.is_(None)),
    )
)
"""The streams that ended, or whose sessions did, after a moment."""
