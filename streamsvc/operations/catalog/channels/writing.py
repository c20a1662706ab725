"""Writes channels: stores the record, and where its manifests are."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from streamsvc.models import Channel, ChannelMediaFile, Programme
from streamsvc.operations.catalog.titles import bulk, search_index, writing
from streamsvc.operations.catalog.titles.media_conflicts import find_channel_conflicts
from streamsvc.operations.catalog.titles.media_files import locate_media
from streamsvc.rules.catalog.channels import ChannelRecord, convert_channel, encode_channel
from streamsvc.rules.catalog.record import InvalidRecord
from streamsvc.rules.maturity import age_gate
from streamsvc.rules.refusals.requests import Invalid, NotFound
from streamsvc.storage.database import db, fetch_one, new_id

_name: sa.BindParameter[str] = sa.bindparam("name")
_COLUMNS = (Channel.pk, Channel.id, Channel.external_id, Channel.body)
STORED_CHANNEL = (
    sa.select(*_COLUMNS)
    .where(sa.or_(Channel.external_id == _name, Channel.id == _name), Channel.removed_at.is_(None))
    .order_by(Channel.external_id != _name)
    .limit(1)
)
STORED_CHANNELS = sa.select(*_COLUMNS, Channel.removed_at)


def lock_channel(id_or_external_id: str) -> sa.Row | None:
    """Return the stored channel, locked until the transaction ends; None if there is none."""
    writing.lock_catalog()
    return db.session.execute(STORED_CHANNEL, {"name": id_or_external_id}).first()


def get_channel(id_or_external_id: str) -> sa.Row:
    """Return the stored channel: pk, id, external_id, body. Raises NotFound."""
    row = fetch_one(STORED_CHANNEL, {"name": id_or_external_id})
    if row is None:
        raise NotFound
    return row


def load_channel_members(name: str) -> dict | None:
    """Return a channel's record and id as JSON values, for the audit log; None if there is none."""
    row = db.session.execute(STORED_CHANNEL, {"name": name}).first()
    return row and {"id": row.id} | msgspec.json.decode(row.body)


def replace_channel(external_id: str, body: dict, row: sa.Row | None, now: datetime) -> None:
    """Replace the record of a locked channel, or create the channel if `row` is None. Raises Invalid."""
    if body.setdefault("external_id", external_id) != external_id:
        raise Invalid(errors={"external_id": ["Must match the external_id in the URL."]})
    if "id" in body and (row is None or body.pop("id") != row.id):
        raise Invalid(errors={"id": ["Must be the channel's own id; omit it for a new channel."]})
    try:
        record = convert_channel(body)
        if conflicts := find_channel_conflicts([record]):
            raise InvalidRecord(*conflicts[record.external_id])
    except InvalidRecord as invalid:
        errors: dict[str, list[str]] = {}
        for error in invalid.errors:
            errors.setdefault(error.field or "_", []).append(error.reason)
        raise Invalid(errors=errors) from None
    write_channels([record], now)


def write_channels(records: Iterable[ChannelRecord], now: datetime) -> Counter:
    """Create or update channels in the caller's transaction; return counts by outcome.

    A record equal to the stored one changes nothing. Of two records with one external id the later counts.
    """
    writing.lock_catalog()
    encoded = {record.external_id: (record, encode_channel(record)) for record in records}
    stored = {row.external_id: row for row in bulk.select_rows_in(STORED_CHANNELS, Channel.external_id, encoded)}
    outcome: Counter = Counter()
    written: dict[int, ChannelRecord] = {}
    for external_id, (record, body) in encoded.items():
        row = stored.get(external_id)
        if row and row.body == body and row.removed_at is None:
            outcome["unchanged"] += 1
            continue
        outcome["changed" if row else "added"] += 1
        written[_store_channel(record, body, row, now)] = record
    search_index.replace_channels(written)
    genres = {("genre", genre) for record, _ in encoded.values() for genre in record.genres}
    if genres:
        writing.get_or_create_facets(genres, writing.WriteCache())
    return outcome


def _store_channel(record: ChannelRecord, body: str, row: sa.Row | None, now: datetime) -> int:
    """Store a channel; return its key."""
    values: dict[str, Any] = {
        "external_id": record.external_id,
        "name": record.name,
        "position": record.position,
        "age_gate": age_gate(record.rating.min_age if record.rating else None),
        "guide_key": record.guide_key,
        "body": body,
        "updated_at": now,
        "removed_at": None,
    }
    if row is None:
        insert = sa.insert(Channel).values(id=new_id("chn"), **values).returning(Channel.pk)
        pk = db.session.execute(insert).scalar_one()
    else:
        pk = row.pk
        db.session.execute(sa.update(Channel).where(Channel.pk == pk).values(values))
        db.session.execute(sa.delete(ChannelMediaFile).where(ChannelMediaFile.channel_pk == pk))
    locations = dict.fromkeys(locate_media(url) for url in (record.media or {}).values())
    if locations:
        rows = [{"host": location.host, "path": location.path, "channel_pk": pk} for location in locations]
        db.session.execute(sa.insert(ChannelMediaFile), rows)
    return int(pk)


def remove_channel(row: sa.Row, now: datetime) -> None:
    """Remove a locked channel and its programmes; if it is created again, it gets its old id."""
    for model in (ChannelMediaFile, Programme):
        db.session.execute(sa.delete(model).where(model.channel_pk == row.pk))
    search_index.delete_channel(row.pk)
    db.session.execute(sa.update(Channel).where(Channel.pk == row.pk).values(removed_at=now))


def create_missing_channels(records: Iterable[ChannelRecord], now: datetime) -> Counter:
    """Create those of the channels whose guide no channel has, in the caller's transaction; return counts by outcome.

    A guide's name and logo never replace those that the operator gave a channel.
    """
    writing.lock_catalog()
    by_key = {record.guide_key: record for record in records}
    keys = sa.select(Channel.guide_key).where(Channel.removed_at.is_(None))
    known = {row.guide_key for row in bulk.select_rows_in(keys, Channel.guide_key, by_key)}
    outcome = write_channels([record for key, record in by_key.items() if key not in known], now)
    return outcome + Counter(unchanged=len(known))
