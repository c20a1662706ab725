"""Finds extras that name the files of other titles or of channels: a trailer needs no plan, and would open them.

Those of its own title are refused with the record itself: rules/catalog/extra_media.py.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any, NamedTuple

import sqlalchemy as sa

from streamsvc.models import Channel, ChannelMediaFile, MediaFile, Title
from streamsvc.operations.catalog.titles import bulk
from streamsvc.operations.catalog.titles.media_files import (
    EXTRA_PREFIX,
    LAST_CODE_POINT,
    is_of_extra,
    locate_media,
    normalize_host,
)
from streamsvc.rules.catalog.channels import ChannelRecord
from streamsvc.rules.catalog.extra_media import NamedFile, iter_files, strip_path_parameters
from streamsvc.rules.catalog.record import CatalogRecord, FieldError
from streamsvc.rules.playback.media_paths import split_media_pattern
from streamsvc.settings import current_settings
from streamsvc.storage.database import db

ITEM_ID_PREFIXES = ("ttl_", "epi_")
"""Of what STREAMSVC_MEDIA_URL names if the catalogue has no `media`; extras have their own."""
ITEM, EXTRA, CHANNEL = "item", "extra", "channel"


class _Owner(NamedTuple):
    """A title, an extra of a title, or a channel, by the external id of the title or the channel."""

    external_id: str
    kind: str


class _Manifests:
    """Whose manifests are where, by (host, path), without what a server may ignore of a path."""

    def __init__(self) -> None:
        self._owners: dict[tuple[str, str], set[_Owner]] = defaultdict(set)
        self._places: dict[_Owner, set[tuple[str, str]]] = defaultdict(set)

    def add(self, host: str, path: str, owner: _Owner) -> None:
        place = host, strip_path_parameters(path)
        self._owners[place].add(owner)
        self._places[owner].add(place)

    def remove(self, owner: _Owner) -> None:
        for place in self._places.pop(owner, ()):
            self._owners[place].discard(owner)

    def at(self, file: NamedFile) -> set[_Owner]:
        """Return the owners of the manifest at a file or, of a folder, below it."""
        if not file.is_folder:
            return self._owners.get((file.host, strip_path_parameters(file.path)), set())
        below = [owners for (host, path), owners in self._owners.items() if (host, path[: len(file.path)]) == file[1:]]
        return set().union(*below)


Files = list[tuple[str, NamedFile]]
"""Files with the kind of each owner."""


def find_title_conflicts(records: Iterable[CatalogRecord]) -> dict[str, list[FieldError]]:
    """Return by external id the errors of titles with an extra that names a manifest of another title or a channel, or
    with a manifest that another title's extra names.

    Each record is compared with the stored ones, and with those before it that have no errors. The caller holds the
    lock on the catalogue.
    """
    files = {record.external_id: list(_iter_files(record)) for record in records}
    manifests, conflicts = _load_manifests(files), {}
    for external_id, named in files.items():
        if errors := _list_errors(manifests, external_id, named):
            conflicts[external_id] = errors
            continue
        for kind in (ITEM, EXTRA):
            manifests.remove(_Owner(external_id, kind))
        for kind, file in named:
            manifests.add(file.host, file.path, _Owner(external_id, kind))
    return conflicts


def find_channel_conflicts(records: Iterable[ChannelRecord]) -> dict[str, list[FieldError]]:
    """Return by external id the errors of channels with a manifest that an extra names; locked as for titles."""
    files = {
        record.external_id: [(CHANNEL, _manifest(f"media.{kind}", url)) for kind, url in (record.media or {}).items()]
        for record in records
    }
    manifests = _load_manifests(files)
    errors = {external_id: _list_errors(manifests, external_id, named) for external_id, named in files.items()}
    return {external_id: of_channel for external_id, of_channel in errors.items() if of_channel}


def _list_errors(manifests: _Manifests, external_id: str, named: Files) -> list[FieldError]:
    errors = []
    for kind, file in named:
        others = [owner for owner in sorted(manifests.at(file)) if _excludes(owner, _Owner(external_id, kind))]
        reason = _reason(others[0]) if others else _reason_by_address(file) if kind == EXTRA else None
        if reason:
            errors.append(FieldError(file.field, "not_allowed", reason))
    return errors


def _excludes(one: _Owner, other: _Owner) -> bool:
    """Whether a file must not be that of both: of an extra, and of an item of another title or a channel."""
    is_same_title = one.external_id == other.external_id and CHANNEL not in (one.kind, other.kind)
    return (one.kind == EXTRA) != (other.kind == EXTRA) and not is_same_title


def _manifest(field: str, url: str) -> NamedFile:
    return NamedFile(field, *locate_media(url))


def _iter_files(record: CatalogRecord) -> Iterator[tuple[str, NamedFile]]:
    """Yield the manifests of a film and its episodes, and all files of its extras, with their fields in the record."""
    items: list[tuple[str, Any]] = [("", record)]
    for index, season in enumerate(record.seasons):
        items += [(f"seasons[{index}].episodes[{number}].", part) for number, part in enumerate(season.episodes)]
    for prefix, item in items:
        for kind, url in (item.media or {}).items():
            yield ITEM, _manifest(f"{prefix}media.{kind}", url)
    for index, extra in enumerate(record.extras):
        for file in iter_files(extra):
            yield EXTRA, file._replace(field=f"extras[{index}].{file.field}", host=normalize_host(file.host))


def _load_manifests(files: Mapping[str, Files]) -> _Manifests:
    """Return the stored manifests at the files of titles or channels by external id; of extras, those below folders."""
    found = _Manifests()
    by_host: dict[str, Files] = defaultdict(list)
    for kind, file in chain.from_iterable(files.values()):
        by_host[file.host].append((kind, file))
    for host, named in by_host.items():
        of_title, of_channel = _select_manifests(host)
        paths = {file.path for _, file in named} | {strip_path_parameters(file.path) for _, file in named}
        of_extras = {file.path for kind, file in named if kind == EXTRA}
        rows = [*bulk.select_rows_in(of_title, MediaFile.path, paths)]
        rows += bulk.select_rows_in(of_channel, ChannelMediaFile.path, of_extras)
        for folder in {path for path in of_extras if path.endswith("/")}:
            rows += _list_below(folder, of_title, of_channel, list(files))
        for row in rows:
            found.add(host, row.path, _Owner(row.external_id, _kind(row.item)))
    return found


def _select_manifests(host: str) -> tuple[sa.Select, sa.Select]:
    """Select the manifests of titles and of channels on a host: path, external_id, item."""
    of_title = (
        sa.select(MediaFile.path, Title.external_id, MediaFile.item)
        .join(Title, Title.pk == MediaFile.title_pk)
        .where(MediaFile.host == host, Title.removed_at.is_(None))
    )
    of_channel = (
        sa.select(ChannelMediaFile.path, Channel.external_id, sa.null().label("item"))
        .join(Channel, Channel.pk == ChannelMediaFile.channel_pk)
        .where(ChannelMediaFile.host == host)
    )
    return of_title, of_channel


def _list_below(folder: str, of_title: sa.Select, of_channel: sa.Select, external_ids: list[str]) -> list[sa.Row]:
    """List the manifests below a folder: all of the titles with these ids, and one of the others, if there is any."""
    last = folder + LAST_CODE_POINT
    titles = of_title.where(MediaFile.path >= folder, MediaFile.path <= last, sa.not_(is_of_extra(MediaFile)))
    channels = of_channel.where(ChannelMediaFile.path >= folder, ChannelMediaFile.path <= last)
    is_named = Title.external_id.in_(external_ids)
    statements = titles.where(is_named), titles.where(sa.not_(is_named)).limit(1), channels.limit(1)
    return [row for statement in statements for row in db.session.execute(statement)]


def _kind(item: str | None) -> str:
    """Return whose a stored manifest is, by MediaFile.item; None: a channel's."""
    if item is None:
        return CHANNEL
    return EXTRA if item.startswith(EXTRA_PREFIX) else ITEM


def _reason(other: _Owner) -> str:
    if other.kind == EXTRA:
        return f'An extra of "{other.external_id}" names this file, and would play it without its rights.'
    name = "the channel " if other.kind == CHANNEL else ""
    return f'Must not be a file of {name}"{other.external_id}", which would then play without its rights.'


def _reason_by_address(file: NamedFile) -> str | None:
    """Return why an extra may not name a file, by its address alone; None if it may.

    It could be a file that STREAMSVC_MEDIA_URL gives another item, or that a server finds under another's address.
    """
    if strip_path_parameters(file.path) != file.path:
        return "Must not have path parameters (`;…`), which servers may ignore."
    pattern, static_path = split_media_pattern(current_settings().media_url)
    if file.host != normalize_host(pattern.host):
        return None
    is_of_item = file.path.startswith(tuple(static_path + prefix for prefix in ITEM_ID_PREFIXES))
    if is_of_item or (file.is_folder and static_path.startswith(file.path)):
        return "Must not be a file of a title without `media`, which STREAMSVC_MEDIA_URL names."
    return None
