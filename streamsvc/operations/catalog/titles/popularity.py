"""Popularity: what the record tells, and ten for each profile that played the title in the last four weeks.

The worker counts once a day and moves only the titles whose count changed. A title's rank (popularity, then arrival)
stands in its row, in its facets and in the search index, which are all walked in its order; nothing is sorted by it
when it is read. "More like this" and "because you watched" (similar.py) are weighed from genres and people when they
are asked for, with popularity between equals.
"""

from datetime import datetime, timedelta

import sqlalchemy as sa

from streamsvc.models import SearchDoc, Stream, Title, TitleFacet
from streamsvc.operations.catalog.titles import bulk, indexing, writing
from streamsvc.rules.catalog.ranks import decode_popularity, encode_rank
from streamsvc.rules.catalog.record import MAX_POPULARITY
from streamsvc.storage.database import db
from streamsvc.worker import jobs

PLAY_PERIOD = timedelta(days=28)
UPDATE_INTERVAL = timedelta(days=1)
WEIGHT_PER_PROFILE = 10
RECENT_PLAYS = (
    sa.select(Stream.title_id, sa.func.count(Stream.profile_id.distinct()).label("profiles"))
    .where(Stream.started_at > sa.bindparam("since"))
    .group_by(Stream.title_id)
)
TITLE_RANKS = sa.select(Title.pk, Title.id, Title.rank, Title.played)


@jobs.recurring_job("catalog_popularity", UPDATE_INTERVAL)
def update_popularity(payload: dict, now: datetime) -> None:
    """Bring ranks up to date with what was played."""
    weights = {
        row.title_id: WEIGHT_PER_PROFILE * row.profiles
        for row in db.session.execute(RECENT_PLAYS, {"since": now - PLAY_PERIOD})
    }
    stale = {row.pk: row for row in db.session.execute(TITLE_RANKS.where(Title.played > 0))}
    stale |= {row.pk: row for row in bulk.select_rows_in(TITLE_RANKS, Title.id, sorted(weights))}
    moved = [(row, weights.get(row.id, 0)) for row in stale.values() if row.played != weights.get(row.id, 0)]
    for some in bulk.in_chunks(moved):
        writing.lock_catalog()
        for row, played in some:
            _update_rank(row, played)
        writing.increment_catalog_version()
        db.session.commit()
    indexing.update_catalog_statistics()


def _update_rank(row, played):
    told = decode_popularity(row.rank) - row.played
    moved = encode_rank(max(0, min(told + played, MAX_POPULARITY)), row.pk)
    db.session.execute(sa.update(Title).where(Title.pk == row.pk).values(played=played, rank=moved))
    db.session.execute(sa.update(TitleFacet).where(TitleFacet.title_pk == row.pk).values(rank=moved))
    db.session.execute(sa.update(SearchDoc).where(SearchDoc.rank == row.rank).values(rank=moved))
