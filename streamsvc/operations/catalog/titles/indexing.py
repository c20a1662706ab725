"""Rebuilds a search index and sort keys of older rules, and updates the counts that choose how lists are read."""

from collections.abc import Callable
from datetime import datetime, timedelta

import sqlalchemy as sa

from streamsvc import clock
from streamsvc.models import CatalogState, Collection, Facet, SearchDoc, Title, TitleFacet, TitleRecord
from streamsvc.operations.catalog.titles import bulk, fulltext, search_index, writing
from streamsvc.rules.catalog import record, tokens
from streamsvc.storage.chunked_writes import let_others_write
from streamsvc.storage.database import db
from streamsvc.worker import jobs

REINDEX_BATCH_SIZE = 250
MAX_RUN_TIME = timedelta(seconds=15)
"""How long one job works on the index before other jobs run; well below a job's lease."""
RECORD_PAGE = (
    sa.select(Title.pk, Title.rank, Title.sort_title, TitleRecord.body)
    .join(TitleRecord, TitleRecord.title_pk == Title.pk)
    .where(Title.pk > sa.bindparam("after"))
    .order_by(Title.pk)
    .limit(REINDEX_BATCH_SIZE)
)


@jobs.recurring_job("catalog_search_index", timedelta(minutes=1))
def enqueue_reindex_if_outdated(payload: dict, now: datetime) -> None:
    """Enqueue a rebuild of the index if a new release has other rules for it."""
    index_version = db.session.scalar(sa.select(CatalogState.search_version))
    if index_version is not None and index_version != tokens.INDEX_VERSION:
        payload = {"after": 0}
        jobs.enqueue_job("catalog_reindex", payload, now, dedupe=f"catalog_reindex {tokens.INDEX_VERSION}")


@jobs.job_handler("catalog_reindex", jobs.BULK_LANE)
def handle_catalog_reindex(payload: dict, now: datetime) -> None:
    """Reindex the titles after the last one done, then the other parts; enqueue another job when the time is up."""
    until, after, part = clock.wall_time() + MAX_RUN_TIME, payload["after"], payload.get("part", "titles")
    reindex = REINDEX_PARTS[part]
    while (after := reindex(after)) and clock.wall_time() < until:
        db.session.commit()
        let_others_write()
    following = [*REINDEX_PARTS, None][list(REINDEX_PARTS).index(part) + 1]
    if after is None and following:
        after, part = 0, following
    if after is not None:
        dedupe = f"catalog_reindex {tokens.INDEX_VERSION} {part} {after}"
        jobs.enqueue_job("catalog_reindex", {"after": after, "part": part}, now, dedupe=dedupe)
    else:
        jobs.enqueue_job("catalog_search_merge", {}, now, dedupe=f"search merge {tokens.INDEX_VERSION}")


def reindex_batch(after: int) -> int | None:
    """Reindex a batch of titles with keys after `after`, in the caller's transaction.

    Returns the last title's key, None at the end.
    """
    writing.lock_catalog()
    rows = db.session.execute(RECORD_PAGE, {"after": after}).all()
    bulk.delete_rows(SearchDoc, "rank", [row.rank for row in rows])
    titles = [(row.pk, row.rank, record.decode_stored_record(row.body)) for row in rows]
    search_index.insert_docs([(rank, title) for _, rank, title in titles], set())
    search_index.replace_episodes(titles)
    writing.replace_media_facets(titles)
    _update_sort_titles([(row, stored.sort_key) for row, (_, _, stored) in zip(rows, titles, strict=True)])
    if rows:
        return rows[-1].pk
    for collection in db.session.scalars(sa.select(Collection)):
        search_index.replace_collection(collection)
    db.session.execute(sa.update(CatalogState).values(search_version=tokens.INDEX_VERSION))
    writing.increment_catalog_version()
    return None


def _update_sort_titles(keys: list[tuple[sa.Row, str]]) -> None:
    """Store the keys by which lists sort titles, where the rules now compute others than when they were written."""
    for row, key in keys:
        if row.sort_title != key:
            db.session.execute(sa.update(Title).where(Title.pk == row.pk).values(sort_title=key))
            db.session.execute(sa.update(TitleFacet).where(TitleFacet.title_pk == row.pk).values(sort_title=key))


def reindex_people_batch(after: int) -> int | None:
    """Reindex a batch of people with keys after `after`, in the caller's transaction.

    Returns the last one's key, None at the end.
    """
    writing.lock_catalog()
    last = search_index.replace_people(after, REINDEX_BATCH_SIZE)
    if last is None:
        writing.increment_catalog_version()
    return last


def reindex_channels_batch(after: int) -> int | None:
    """Reindex a batch of channels with keys after `after`, in the caller's transaction.

    Returns the last one's key, None at the end.
    """
    writing.lock_catalog()
    return search_index.reindex_channels(after, REINDEX_BATCH_SIZE)


REINDEX_PARTS: dict[str, Callable[[int], int | None]] = {
    "titles": reindex_batch,
    "people": reindex_people_batch,
    "channels": reindex_channels_batch,
}


@jobs.job_handler("catalog_search_merge", jobs.BULK_LANE)
def handle_search_merge(payload: dict, now: datetime) -> None:
    """Merge the segments of the search index after a bulk write; retry when the time is up."""
    until = clock.wall_time() + MAX_RUN_TIME
    while fulltext.merge_index_step():
        if clock.wall_time() > until:
            raise jobs.Retry(now)
        db.session.commit()


def update_catalog_statistics() -> None:
    """Count the titles of each facet and update PostgreSQL's statistics, in the caller's transaction.

    PostgreSQL on its own updates its statistics only minutes after a large import, and until then plans searches as if
    the catalogue were empty. The catalogue is locked so that concurrent counts do not deadlock.
    """
    writing.lock_catalog()
    bulk.analyze_tables()
    title_count = sa.select(sa.func.count()).where(TitleFacet.facet_pk == Facet.pk).scalar_subquery()
    db.session.execute(sa.update(Facet).values(titles=title_count))
