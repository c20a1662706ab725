"""The search index made anew, where it was made by older rules; and the rough counts that choose how lists are read."""

from datetime import datetime, timedelta

import sqlalchemy as sa

from streamsvc import clock
from streamsvc.models import CatalogState, Facet, SearchDoc, SearchWord, Title, TitleFacet, TitleRecord
from streamsvc.operations.catalog.titles import bulk, fulltext, writing
from streamsvc.rules.catalog import record, search
from streamsvc.storage.database import db
from streamsvc.worker import jobs

AT_ONCE = 250
TURN = timedelta(seconds=15)
"""How long the worker stays with the index before other jobs have their turn; well below a job's lease."""
RECORDS = (
    sa.select(Title.pk, Title.rank, TitleRecord.body)
    .join(TitleRecord, TitleRecord.title_pk == Title.pk)
    .where(Title.pk > sa.bindparam("after"))
    .order_by(Title.pk)
    .limit(AT_ONCE)
)


@jobs.recurring("catalog_search_index", timedelta(hours=1))
def look_after(payload: dict, now: datetime) -> None:
    """Begin to make the index anew where a new release has other rules for it."""
    made_by = db.session.scalar(sa.select(CatalogState.search_version))
    if made_by is not None and made_by != search.VERSION:
        payload = {"after": 0}
        jobs.enqueue("catalog_reindex", payload, now, dedupe=f"catalog_reindex {search.VERSION}")


@jobs.handler("catalog_reindex")
def go_on(payload: dict, now: datetime) -> None:
    """Index the titles that come after the last one done; asks for another turn where time is up."""
    until, after = clock.wall() + TURN, payload["after"]
    while (after := reindex(after)) and clock.wall() < until:
        db.session.commit()
    if after:
        name = f"catalog_reindex {search.VERSION} {after}"
        jobs.enqueue("catalog_reindex", {"after": after}, now, dedupe=name)
    else:
        jobs.enqueue("catalog_search_merge", {}, now, dedupe=f"search merge {search.VERSION}")


def reindex(after: int) -> int | None:
    """Index some titles that come after this key, in the caller's unit of work; the last one's key, None at the end."""
    writing.begin()
    rows = db.session.execute(RECORDS, {"after": after}).all()
    bulk.remove(SearchDoc, "rank", [row.rank for row in rows])
    tokens = [(row.rank, search.tokens(record.kept(row.body))) for row in rows]
    words = set().union(*(search.vocabulary(found) for _, found in tokens))
    bulk.remove(SearchWord, "word", sorted(words))
    writing.add_tokens(tokens, words)
    if rows:
        return rows[-1].pk
    db.session.execute(sa.update(CatalogState).values(search_version=search.VERSION))
    writing.touch()
    return None


@jobs.handler("catalog_search_merge")
def merge(payload: dict, now: datetime) -> None:
    """Merge the pieces of the search index after many titles were written; comes again where time is up."""
    until = clock.wall() + TURN
    while fulltext.merge_some():
        if clock.wall() > until:
            raise jobs.Retry(now)
        db.session.commit()


def survey() -> None:
    """Count what the catalogue holds, in the caller's unit of work: titles by facet.

    PostgreSQL counts its words too; by itself it would only minutes after a large import, and until then plan searches
    as if there were nothing. The catalogue is locked, so that two who count do not wait for each other in a circle.
    """
    writing.begin()
    bulk.analyze()
    links = sa.select(sa.func.count()).where(TitleFacet.facet_pk == Facet.pk).scalar_subquery()
    db.session.execute(sa.update(Facet).values(titles=links))
