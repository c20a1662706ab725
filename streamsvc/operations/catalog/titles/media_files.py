"""Where the manifests of items are: the rows that tell whose files lie in a folder of a media server."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import sqlalchemy as sa

from streamsvc.models import Extra as ExtraRow
from streamsvc.models import MediaFile
from streamsvc.operations.catalog.titles import bulk
from streamsvc.operations.catalog.titles.extras import keyed_extras
from streamsvc.rules.catalog.record import CatalogRecord, Episode, Extra
from streamsvc.rules.playback.media_paths import MediaLocation, parse_media_url
from streamsvc.settings import current_settings
from streamsvc.storage.database import db

LAST_CODE_POINT = "\U0010ffff"
COLUMNS = ("host", "path", "title_pk", "item", "folder")


def locate_media(url: str) -> MediaLocation:
    """Return where a manifest is; the public URL's own host is "". Raises ValueError."""
    location = parse_media_url(url)
    return location._replace(host="") if location.host == urlsplit(current_settings().public_url).hostname else location


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
        extra.c.id == other.item, extra.c.title_pk == title_pk, extra.c.rights.is_(None), item.not_like("xtr!_%", "!")
    )


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


def count_shared_folders(title_pks: list[int]) -> int:
    """Return how many manifests of the titles lie in a folder with another item's, in the caller's transaction."""
    statement = sa.select(sa.func.count()).select_from(MediaFile).where(shares_folder())
    return sum(
        db.session.scalar(statement.where(MediaFile.title_pk.in_(chunk))) or 0 for chunk in bulk.in_chunks(title_pks)
    )
