"""Writes the guide of a channel, and deletes programmes that are long over."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from streamsvc.models import Channel, Programme, Title
from streamsvc.operations.catalog.titles import bulk, search_index, writing
from streamsvc.rules.catalog.channels import decode_stored_channel
from streamsvc.rules.catalog.programmes import MAX_DURATION, Airing, covered_range, encode_programme, programme_id
from streamsvc.storage import chunked_writes
from streamsvc.storage.database import UtcTime, db, fetch_all, insert
from streamsvc.worker import jobs

RETENTION = timedelta(days=1)
"""How long a programme stays in the guide after its end on a channel without a longer catch-up."""
CHANNELS_OF_GUIDE = sa.select(Channel.pk, Channel.id).where(
    Channel.guide_key == sa.bindparam("guide_key"), Channel.removed_at.is_(None)
)
PROGRAMMES_IN_RANGE = (
    sa.select(Programme)
    .with_only_columns(*Programme.__table__.c)
    .where(
        Programme.channel_pk == sa.bindparam("pk"),
        Programme.starts_at >= sa.bindparam("first", type_=UtcTime),
        Programme.starts_at < sa.bindparam("last", type_=UtcTime),
    )
)


def replace_programmes(guide_key: str, schedule: Sequence[Airing]) -> Counter | None:
    """Replace the programmes of a guide's channels in the range that the schedule covers; return counts by outcome.

    `schedule` is one of rules/catalog/programmes.py:build_schedule, not empty. In the caller's transaction. None if no
    channel has this guide.
    """
    writing.lock_catalog()
    channels = db.session.execute(CHANNELS_OF_GUIDE, {"guide_key": guide_key}).all()
    if not channels:
        return None
    titles = _find_titles(schedule)
    outcome: Counter = Counter()
    for channel in channels:
        outcome += _replace_channel_programmes(channel, schedule, titles)
    return outcome


def _find_titles(schedule: Sequence[Airing]) -> dict[str, sa.Row]:
    """Return the titles that are broadcast, by IMDb's id: those of records such as `imdb:tt0111161`."""
    imdb_ids = {airing.record.imdb_id for airing in schedule if airing.record.imdb_id}
    select = sa.select(Title.external_id, Title.id, Title.min_age).where(Title.removed_at.is_(None))
    rows = bulk.select_rows_in(select, Title.external_id, sorted(f"imdb:{imdb_id}" for imdb_id in imdb_ids))
    return {row.external_id.removeprefix("imdb:"): row for row in rows}


def _replace_channel_programmes(channel: Any, schedule: Sequence[Airing], titles: dict[str, sa.Row]) -> Counter:
    first, last = covered_range(schedule)
    rows = {airing.starts_at: _programme_row(channel, airing, titles) for airing in schedule}
    scope = {"pk": channel.pk, "first": first, "last": last}
    stored = {row.starts_at: row._asdict() for row in db.session.execute(PROGRAMMES_IN_RANGE, scope)}
    changed = [row for starts_at, row in rows.items() if row != stored.get(starts_at)]
    removed = sorted(stored.keys() - rows.keys())
    of_channel = Programme.channel_pk == channel.pk
    for chunk in bulk.in_chunks(removed):
        db.session.execute(sa.delete(Programme).where(of_channel, Programme.starts_at.in_(chunk)))
    reaching_in = of_channel, Programme.starts_at < first, Programme.starts_at > first - MAX_DURATION
    db.session.execute(sa.update(Programme).where(*reaching_in, Programme.ends_at > first).values(ends_at=first))
    if changed:
        statement = insert(Programme)
        kept = {name: statement.excluded[name] for name in ("ends_at", "min_age", "title_id", "body")}
        key = ["channel_pk", "starts_at"]
        db.session.execute(statement.on_conflict_do_update(index_elements=key, set_=kept), changed)
    _index_programmes(schedule, rows, changed, scope)
    added = len([row for row in changed if row["starts_at"] not in stored])
    return Counter(added=added, changed=len(changed) - added, unchanged=len(rows) - len(changed), removed=len(removed))


def _index_programmes(
    schedule: Sequence[Airing], rows: dict[datetime, dict], changed: list[dict], scope: dict[str, Any]
) -> None:
    """Index the programmes that changed, and those that an older release did not index."""
    outdated = {row["starts_at"] for row in changed}
    indexed = set(db.session.scalars(search_index.INDEXED_STARTS, scope)) - outdated
    wanted = [airing for airing in schedule if airing.starts_at not in indexed]
    search_index.replace_programmes([(rows[airing.starts_at], airing.record) for airing in wanted])


def _programme_row(channel: Any, airing: Airing, titles: dict[str, sa.Row]) -> dict[str, Any]:
    """Return the row of a programme; without a rating of its own, it has that of the title that it broadcasts."""
    title, min_age = titles.get(airing.record.imdb_id or ""), airing.record.min_age
    return {
        "channel_pk": channel.pk,
        "starts_at": airing.starts_at,
        "ends_at": airing.ends_at,
        "id": programme_id(channel.id, airing.starts_at),
        "min_age": title.min_age if title and min_age is None else min_age,
        "title_id": title.id if title else None,
        "body": encode_programme(airing.record),
    }


@jobs.recurring_job("programmes.purge", every=timedelta(hours=6))
def purge_old_programmes(payload: dict, now: datetime) -> None:
    """Delete the programmes that have left the guide and can no longer be played, in chunks."""
    for channel in fetch_all(sa.select(Channel.pk, Channel.body).order_by(Channel.pk)):
        catchup = timedelta(hours=decode_stored_channel(channel.body).catchup_hours or 0)
        _delete_programmes(channel.pk, now - max(catchup, RETENTION))


def _delete_programmes(channel_pk: int, until: datetime) -> None:
    """Delete the programmes of a channel that ended by a time."""
    is_over = Programme.channel_pk == channel_pk, Programme.starts_at < until, Programme.ends_at <= until

    def delete(connection: sa.Connection, starts: list) -> None:
        connection.execute(sa.delete(Programme).where(*is_over, Programme.starts_at.in_(starts)))

    chunked_writes.write_in_chunks(sa.select(Programme.starts_at).where(*is_over), delete)
