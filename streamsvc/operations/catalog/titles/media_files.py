"""Where the manifests of items are: the rows that tell whose files lie in a folder of a media server."""

from collections.abc import Iterable, Iterator
from urllib.parse import urlsplit

import sqlalchemy as sa

from streamsvc.models import MediaFile
from streamsvc.operations.catalog.titles import bulk
from streamsvc.rules.catalog.record import CatalogRecord, Episode
from streamsvc.rules.playback.media_paths import MediaLocation, parse_media_url
from streamsvc.settings import current_settings
from streamsvc.storage.database import db

LAST_CODE_POINT = "\U0010ffff"
COLUMNS = ("host", "path", "title_pk", "item", "folder")


def locate_media(url: str) -> MediaLocation:
    """Return where a manifest is; the public URL's own host is "". Raises ValueError."""
    location = parse_media_url(url)
    return location._replace(host="") if location.host == urlsplit(current_settings().public_url).hostname else location


def insert_media_files(titles: Iterable[tuple[int, CatalogRecord]]) -> None:
    """Insert the rows of titles (pk, record) that have none."""
    rows = [
        (location.host, location.path, pk, item, location.folder)
        for pk, record in titles
        for item, part in _iter_items(record)
        for location in dict.fromkeys(locate_media(url) for url in (part.media or {}).values())
    ]
    bulk.insert_rows(MediaFile, COLUMNS, rows)


def _iter_items(record: CatalogRecord) -> Iterator[tuple[str, CatalogRecord | Episode]]:
    """Yield the film or the episodes of a record, each with its MediaFile.item."""
    yield "", record
    for season in record.seasons:
        for episode in season.episodes:
            yield f"{season.number}/{episode.number}", episode


def shares_folder(file: type[MediaFile] = MediaFile) -> sa.ColumnElement[bool]:
    """Return the condition that another item's manifest lies in the folder of a media file."""
    other = sa.alias(MediaFile.__table__)
    return sa.exists().where(
        other.c.host == file.host,
        other.c.path >= file.folder,
        other.c.path <= file.folder + LAST_CODE_POINT,
        sa.or_(other.c.title_pk != file.title_pk, other.c.item != file.item),
    )


def count_shared_folders(title_pks: list[int]) -> int:
    """Return how many manifests of the titles lie in a folder with another item's, in the caller's transaction."""
    statement = sa.select(sa.func.count()).select_from(MediaFile).where(shares_folder())
    return sum(
        db.session.scalar(statement.where(MediaFile.title_pk.in_(chunk))) or 0 for chunk in bulk.in_chunks(title_pks)
    )
