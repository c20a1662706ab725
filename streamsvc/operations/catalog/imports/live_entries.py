"""Imports the live channels and guides among the entries of a file."""

from collections import Counter
from datetime import datetime

import msgspec

from streamsvc.models import Channel
from streamsvc.operations.catalog.channels import guide, writing
from streamsvc.operations.catalog.formats import FileEntry
from streamsvc.operations.catalog.titles import bulk
from streamsvc.operations.catalog.titles.media_conflicts import find_channel_conflicts
from streamsvc.operations.catalog.titles.writing import lock_catalog
from streamsvc.rules.catalog.channels import ChannelRecord, convert_channel
from streamsvc.rules.catalog.record import FieldError, InvalidRecord
from streamsvc.rules.catalog.text import is_storable


def write_live_entries(batch: list[FileEntry], now: datetime, dry_run: bool = False) -> tuple[list[FileEntry], Counter]:
    """Write channels and guides in the caller's transaction; return the batch with their errors, and the counts.

    `dry_run`: channels that the file declared are taken for created, although an earlier transaction was rolled back.
    """
    if not any(entry.channel or entry.guide for entry in batch):
        return batch, Counter()
    lock_catalog()
    converted = _convert_channels(batch)
    outcome = writing.write_channels([record for record, mode in converted.values() if mode != "create"], now)
    outcome += writing.create_missing_channels([record for record, mode in converted.values() if mode == "create"], now)
    entries = []
    for index, entry in enumerate(batch):
        error = converted.errors.get(index)
        if entry.guide:
            counts = guide.replace_programmes(entry.guide.guide_key, entry.guide.schedule)
            if counts is None and dry_run and entry.guide.is_declared:
                counts = Counter(added=len(entry.guide.schedule))
            outcome += counts or Counter()
            error = None if counts is not None else (_unknown_channel(entry.guide.guide_key),)
        entries.append(entry._replace(errors=error) if error else entry)
    return entries, outcome


class _Converted(dict[str, tuple[ChannelRecord, str]]):
    """Valid records with their modes, by external id; `errors` by the position of the entry."""

    def __init__(self) -> None:
        self.errors: dict[int, tuple[FieldError, ...]] = {}


def _convert_channels(batch: list[FileEntry]) -> _Converted:
    merged = [entry.external_id or "" for entry in batch if entry.channel and entry.channel.mode == "merge"]
    names = [name for name in merged if name and is_storable(name)]
    rows = bulk.select_rows_in(writing.STORED_CHANNELS, Channel.external_id, names)
    stored = {row.external_id: msgspec.json.decode(row.body) for row in rows if row.removed_at is None}
    converted, names_by_index = _Converted(), {}
    for index, entry in enumerate(batch):
        if entry.channel is None:
            continue
        kept = stored.get(entry.external_id, {}) if entry.channel.mode == "merge" else {}
        try:
            record = convert_channel(kept | entry.channel.value)
            converted[record.external_id] = record, entry.channel.mode
            names_by_index[index] = record.external_id
        except InvalidRecord as invalid:
            converted.errors[index] = invalid.errors
    conflicts = find_channel_conflicts(record for record, _ in converted.values())
    for index, name in names_by_index.items():
        if name in conflicts:
            converted.errors[index] = tuple(conflicts[name])
            converted.pop(name, None)
    return converted


def _unknown_channel(guide_key: str) -> FieldError:
    reason = f"There is no channel with the guide {guide_key[:200]!r}; import the channels first."
    return FieldError("channel", "unknown_channel", reason)
