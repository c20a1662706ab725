"""The worker's care for streams: it ends those that have expired and deletes old ones."""

import time
from datetime import datetime, timedelta

import sqlalchemy as sa

from streamsvc.models import Session, Stream
from streamsvc.operations.playback import playback_events
from streamsvc.rules.playback import stream_rules
from streamsvc.storage import chunked_writes
from streamsvc.storage.database import batching_session, db, fetch_all
from streamsvc.storage.unit_of_work import unit_of_work
from streamsvc.worker import jobs


@jobs.recurring_job("streams", every=timedelta(minutes=5))
def maintain_streams(payload: dict, now: datetime) -> None:
    """End expired streams and delete old ones."""
    expire_and_purge_streams(now)


def expire_and_purge_streams(now: datetime) -> None:
    """End expired streams and delete those that ended long ago, in chunks.

    No slot depends on it, since an expired stream takes none; it publishes their ends, and keeps the index of open
    streams short. Must not be called while `db.session` is in a transaction.
    """
    is_expired = (Stream.ended_at.is_(None), Stream.expires_at <= now)
    has_signed_out = sa.exists().where(Session.id == Stream.session_id, Session.ended_at <= Stream.expires_at)
    reason = sa.case((has_signed_out, stream_rules.SIGNED_OUT), else_=stream_rules.EXPIRED)
    while ids := [
        row.id for row in fetch_all(sa.select(Stream.id).where(*is_expired).limit(chunked_writes.CHUNK_SIZE))
    ]:
        ended = sa.update(Stream).where(Stream.id.in_(ids), *is_expired)
        ended = ended.values(ended_at=Stream.expires_at, end_reason=reason)
        rows = db.session.execute(ended.returning(*Stream.__table__.c)).all()
        with unit_of_work(batching_session()):
            playback_events.publish_if_subscribed(playback_events.ENDED, rows, now)
        db.session.commit()
        if len(ids) < chunked_writes.CHUNK_SIZE:
            break
        time.sleep(chunked_writes.PAUSE_S)
    chunked_writes.delete_in_chunks(Stream.id, Stream.ended_at < now - stream_rules.STREAM_RETENTION)
