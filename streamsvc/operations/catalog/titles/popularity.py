"""Popularity: the record's own, plus ten for each profile that played the title in the last four weeks.

The worker counts plays once a day and updates only the titles whose count changed. A title's rank (popularity, then
arrival) is stored in its row, in its facets and in the search index, all of which are scanned in its order; no read
sorts by it. "More like this" and "Because you watched" (similar.py) are computed from genres and people on request,
with popularity deciding ties.
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
    .where(Stream.started_at > sa.bindparam("since"), Stream.item_id.not_like("xtr!_%", "!"))
    .group_by(Stream.title_id)
)
TITLE_RANKS = sa.select(Title.pk, Title.id, Title.rank, Title.played)


@jobs.recurring_job("catalog_popularity", UPDATE_INTERVAL)
def update_popularity(payload: dict, now: datetime) -> None:
    """Update the ranks of titles whose recent plays changed."""
    plays_by_title = {
        row.title_id: WEIGHT_PER_PROFILE * row.profiles
        for row in db.session.execute(RECENT_PLAYS, {"since": now - PLAY_PERIOD})
    }
    titles = {row.pk: row for row in db.session.execute(TITLE_RANKS.where(Title.played > 0))}
    titles |= {row.pk: row for row in bulk.select_rows_in(TITLE_RANKS, Title.id, sorted(plays_by_title))}
    changed = [
        (row, plays_by_title.get(row.id, 0)) for row in titles.values() if row.played != plays_by_title.get(row.id, 0)
    ]
    for chunk in bulk.in_chunks(changed):
        writing.lock_catalog()
        for row, played in chunk:
            _update_rank(row, played)
        writing.increment_catalog_version()
        db.session.commit()
    indexing.update_catalog_statistics()


def _update_rank(row: sa.Row, played: int) -> None:
    own_popularity = decode_popularity(row.rank) - row.played
    rank = encode_rank(max(0, min(own_popularity + played, MAX_POPULARITY)), row.pk)
    db.session.execute(sa.update(Title).where(Title.pk == row.pk).values(played=played, rank=rank))
    db.session.execute(sa.update(TitleFacet).where(TitleFacet.title_pk == row.pk).values(rank=rank))
    db.session.execute(sa.update(SearchDoc).where(SearchDoc.rank == row.rank).values(rank=rank))
