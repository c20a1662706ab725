"""Where the manifests of items are: the rows that tell whose files lie in a folder of a media server."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import sqlalchemy as sa

from streamsvc.models import ChannelMediaFile, MediaFile, Title
from streamsvc.models import Extra as ExtraRow
from streamsvc.operations.catalog.titles import bulk
from streamsvc.operations.catalog.titles.extras import keyed_extras
from streamsvc.rules.catalog.record import CatalogRecord, Episode, Extra
from streamsvc.rules.playback.media_paths import MediaLocation, parse_media_url
from streamsvc.settings import current_settings
from streamsvc.storage.database import db

LAST_CODE_POINT = "\U0010ffff"
EXTRA_PREFIX = "xtr_"
COLUMNS = ("host", "path", "title_pk", "item", "folder")


def locate_media(url: str) -> MediaLocation:
    """Return where a manifest is; the public URL's own host is "". Raises ValueError."""
    location = parse_media_url(url)
    return location._replace(host=normalize_host(location.host))


def normalize_host(host: str) -> str:
    """Return a host as MediaFile has it: the public URL's own is ""."""
    return "" if host == urlsplit(current_settings().public_url).hostname else host


def insert_media_files(titles: Iterable[tuple[int, CatalogRecord]], extra_ids: Mapping[tuple[int, str], str]) -> None:
    """Insert the rows of titles (pk, record) that have none. `extra_ids`: by (title's pk, key)."""
    rows = [
        (location.host, location.path, pk, item, location.folder)
        for pk, record in titles
        for item, part in _iter_items(pk, record, extra_ids)
        for location in dict.fromkeys(locate_media(url) for url in (part.media or {}).values())
    ]
    bulk.insert_rows(MediaFile, COLUMNS, rows)


def _iter_items(
    pk: int, record: CatalogRecord, extra_ids: Mapping[tuple[int, str], str]
) -> Iterator[tuple[str, CatalogRecord | Episode | Extra]]:
    """Yield the film, the episodes and the extras of a record, each with its MediaFile.item."""
    yield "", record
    for season in record.seasons:
        for episode in season.episodes:
            yield f"{season.number}/{episode.number}", episode
    for key, extra in keyed_extras(record):
        yield extra_ids[pk, key], extra


def is_as_open_as(title_pk: Any, item: Any, other: Any) -> sa.ColumnElement[bool]:
    """Return the condition that another media file is that of an extra which whoever plays the item may play.

    Namely an extra of its title without rights of its own; the files of a film often lie in the folders above those of
    its trailers. An extra's own token opens neither the film nor another extra.
    """
    extra = sa.alias(ExtraRow.__table__)
    return sa.exists().where(
        extra.c.id == other.item, extra.c.title_pk == title_pk, extra.c.rights.is_(None), sa.not_(_is_extra_id(item))
    )


def is_of_extra(file: Any) -> sa.ColumnElement[bool]:
    """Return the condition that a media file is an extra's."""
    return _is_extra_id(file.item)


def _is_extra_id(item: Any) -> sa.ColumnElement[bool]:
    return item.like("xtr!_%", escape="!")


def shares_folder(file: type[MediaFile] = MediaFile) -> sa.ColumnElement[bool]:
    """Return the condition that another item's manifest lies in the folder of a media file."""
    other = sa.alias(MediaFile.__table__)
    return sa.exists().where(
        other.c.host == file.host,
        other.c.path >= file.folder,
        other.c.path <= file.folder + LAST_CODE_POINT,
        sa.or_(other.c.title_pk != file.title_pk, other.c.item != file.item),
        sa.not_(is_as_open_as(file.title_pk, file.item, other.c)),
    )


def shares_manifest() -> sa.Label[bool]:
    """Return the column `shares_media` of an extra: whether a film, an episode or a channel has the same manifest."""
    own, other, title = (sa.alias(model.__table__) for model in (MediaFile, MediaFile, Title))
    of_item = sa.exists().where(
        other.c.host == own.c.host,
        other.c.path == own.c.path,
        sa.not_(is_of_extra(other.c)),
        title.c.pk == other.c.title_pk,
        title.c.removed_at.is_(None),
    )
    of_channel = sa.exists().where(ChannelMediaFile.host == own.c.host, ChannelMediaFile.path == own.c.path)
    is_own = own.c.title_pk == ExtraRow.title_pk, own.c.item == ExtraRow.id
    return sa.exists().where(*is_own, sa.or_(of_item, of_channel)).label("shares_media")


def count_shared_folders(title_pks: list[int]) -> int:
    """Return how many manifests of the titles lie in a folder with another item's, in the caller's transaction."""
    statement = sa.select(sa.func.count()).select_from(MediaFile).where(shares_folder())
    return sum(
        db.session.scalar(statement.where(MediaFile.title_pk.in_(chunk))) or 0 for chunk in bulk.in_chunks(title_pks)
    )
