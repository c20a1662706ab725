"""The search index made anew, where it was made by older rules; and the rough counts that choose how lists are read."""

from datetime import datetime, timedelta

import sqlalchemy as sa

from streamsvc import clock
from streamsvc.models import CatalogState, Facet, SearchDoc, SearchWord, Title, TitleFacet, TitleRecord
from streamsvc.operations.catalog.titles import bulk, fulltext, writing
from streamsvc.rules.catalog import record, search
from streamsvc.storage.database import db
from streamsvc.worker import jobs

REINDEX_BATCH_SIZE = 250
MAX_RUN_TIME = timedelta(seconds=15)
"""How long the worker stays with the index before other jobs have their turn; well below a job's lease."""
RECORD_PAGE = (
    sa.select(Title.pk, Title.rank, TitleRecord.body)
    .join(TitleRecord, TitleRecord.title_pk == Title.pk)
    .where(Title.pk > sa.bindparam("after"))
    .order_by(Title.pk)
    .limit(REINDEX_BATCH_SIZE)
)


@jobs.recurring_job("catalog_search_index", timedelta(hours=1))
def enqueue_reindex_if_outdated(payload: dict, now: datetime) -> None:
    """Begin to make the index anew where a new release has other rules for it."""
    made_by = db.session.scalar(sa.select(CatalogState.search_version))
    if made_by is not None and made_by != search.INDEX_VERSION:
        payload = {"after": 0}
        jobs.enqueue_job("catalog_reindex", payload, now, dedupe=f"catalog_reindex {search.INDEX_VERSION}")


@jobs.job_handler("catalog_reindex")
def handle_catalog_reindex(payload: dict, now: datetime) -> None:
    """Index the titles that come after the last one done; asks for another turn where time is up."""
    until, after = clock.wall_time() + MAX_RUN_TIME, payload["after"]
    while (after := reindex_batch(after)) and clock.wall_time() < until:
        db.session.commit()
    if after:
        name = f"catalog_reindex {search.INDEX_VERSION} {after}"
        jobs.enqueue_job("catalog_reindex", {"after": after}, now, dedupe=name)
    else:
        jobs.enqueue_job("catalog_search_merge", {}, now, dedupe=f"search merge {search.INDEX_VERSION}")


def reindex_batch(after: int) -> int | None:
    """Index some titles that come after this key, in the caller's unit of work; the last one's key, None at the end."""
    writing.lock_catalog()
    rows = db.session.execute(RECORD_PAGE, {"after": after}).all()
    bulk.delete_rows(SearchDoc, "rank", [row.rank for row in rows])
    tokens = [(row.rank, search.record_tokens(record.decode_stored_record(row.body))) for row in rows]
    words = set().union(*(search.correctable_words(found) for _, found in tokens))
    bulk.delete_rows(SearchWord, "word", sorted(words))
    writing.insert_search_tokens(tokens, words)
    if rows:
        return rows[-1].pk
    db.session.execute(sa.update(CatalogState).values(search_version=search.INDEX_VERSION))
    writing.increment_catalog_version()
    return None


@jobs.job_handler("catalog_search_merge")
def handle_search_merge(payload: dict, now: datetime) -> None:
    """Merge the pieces of the search index after many titles were written; comes again where time is up."""
    until = clock.wall_time() + MAX_RUN_TIME
    while fulltext.merge_index_step():
        if clock.wall_time() > until:
            raise jobs.Retry(now)
        db.session.commit()


def update_catalog_statistics() -> None:
    """Count what the catalogue holds, in the caller's unit of work: titles by facet.

    PostgreSQL counts its words too; by itself it would only minutes after a large import, and until then plan searches
    as if there were nothing. The catalogue is locked, so that two who count do not wait for each other in a circle.
    """
    writing.lock_catalog()
    bulk.analyze_tables()
    links = sa.select(sa.func.count()).where(TitleFacet.facet_pk == Facet.pk).scalar_subquery()
    db.session.execute(sa.update(Facet).values(titles=links))
