"""The media of an item: the URLs of its manifests, and what a playback token opens for them."""

from collections.abc import Iterable
from typing import Any
from urllib.parse import urlencode, urlsplit

import msgspec
import sqlalchemy as sa

from streamsvc.models import MediaFile
from streamsvc.operations.catalog.titles.media_files import LAST_CODE_POINT, is_as_open_as, locate_media
from streamsvc.operations.playback.items import Playable
from streamsvc.rules.playback.media_paths import MediaLocation, opened_paths, split_media_pattern
from streamsvc.rules.playback.tokens import MediaScope
from streamsvc.settings import Settings, current_settings
from streamsvc.storage.compiled_statements import CompiledStatement

HLS = "hls"
MAX_NEIGHBOURS = 200
"""With more manifests that begin with the stem of one, that one opens only its own file."""


def manifest_views(playable: Playable, stream_id: str, token: str) -> list[dict]:
    """Return [{type, url}] of the item's manifests, of which this service may serve the HLS playlist itself."""
    settings = current_settings()
    urls = {kind: find_media_url(playable, kind) for kind in playable.media or (HLS,)}
    if settings.filter_manifests and HLS in urls:
        query = urlencode({"grant": token})
        urls[HLS] = f"{settings.public_url}/v1/playback/{stream_id}/master.m3u8?{query}"
    return [{"type": kind, "url": url} for kind, url in urls.items()]


def find_media_url(playable: Playable, kind: str) -> str | None:
    """Return the URL of a manifest that the catalogue names, else that of STREAMSVC_MEDIA_URL, which is for HLS."""
    settings = current_settings()
    media = playable.media or {HLS: settings.media_url.replace("{item_id}", playable.row.item_id)}
    url = media.get(kind)
    return settings.public_url + url if url and url.startswith("/") else url


def load_media_scope(playable: Playable, max_height: int | None) -> MediaScope:
    """Return what a stream of the item may fetch, up to a picture height in lines.

    Variants that the catalogue declares are opened, or denied if they are higher. A stored address that is not valid
    opens nothing.
    """
    settings = current_settings()
    if playable.media:
        locations = [location for url in playable.media.values() if (location := _locate_or_none(url))]
        paths = [path for location in locations for path in _opened_paths(location, playable, settings)]
    else:
        locations = [locate_media(settings.media_url.replace("{item_id}", playable.row.item_id))]
        has_own_folder = "{item_id}" in settings.media_url.rpartition("/")[0]
        paths = opened_paths(locations[0], (), has_own_folder)
    folders = dict.fromkeys(location.folder for location in locations)
    variants = {path: v.height for v in playable.variants for path in _variant_paths(v.path, folders)}
    denied = [path for path, height in variants.items() if max_height is not None and (height or 0) > max_height]
    paths += [path for path in variants if path not in denied]
    hosts = [location.host or urlsplit(settings.public_url).hostname or "" for location in locations]
    return MediaScope(tuple(dict.fromkeys(hosts)), tuple(dict.fromkeys(paths)), tuple(denied))


def _variant_paths(path: str, folders: Iterable[str]) -> list[str]:
    """Return the paths of a declared variant, which may be below the folder of each of the item's manifests."""
    return [path] if path.startswith("/") else [folder + path for folder in folders]


def encode_scope(scope: MediaScope) -> str:
    """Return a scope as it is stored with the stream."""
    return msgspec.json.encode(scope).decode()


def decode_scope(text: str | None) -> MediaScope:
    """Return the stored scope of a stream; one that was started before scopes were stored opens nothing."""
    return _scope_decoder.decode(text) if text else MediaScope((), ())


_scope_decoder = msgspec.json.Decoder(MediaScope)


def _locate_or_none(url: str) -> MediaLocation | None:
    try:
        return locate_media(url)
    except ValueError:
        return None


def _opened_paths(location: MediaLocation, playable: Playable, settings: Settings) -> list[str]:
    """Return the paths that a manifest of the catalogue opens, given where other items' manifests are.

    Items without media in the catalogue have theirs below the static part of STREAMSVC_MEDIA_URL.
    """
    pattern, static_path = split_media_pattern(settings.media_url)
    unnamed = [static_path] if pattern.host in ("", location.host) else []
    own = {"host": location.host, "own": location.path, "title_pk": playable.row.pk, "item": playable.number}
    is_shared = any(path.startswith(location.folder) for path in unnamed)
    if not is_shared and not _list_neighbours(location.folder, own, limit=1):
        return opened_paths(location, (), has_own_folder=True)
    neighbours = _list_neighbours(location.stem, own, MAX_NEIGHBOURS)
    if len(neighbours) == MAX_NEIGHBOURS:
        return [location.path]
    return opened_paths(location, neighbours + unnamed, has_own_folder=False)


def _list_neighbours(prefix: str, own: dict[str, Any], limit: int) -> list[str]:
    """Return up to `limit` paths of other items' manifests that start with `prefix`."""
    rows = NEIGHBOURS.all(**own, first=prefix, last=prefix + LAST_CODE_POINT, limit=limit)
    return [row.path for row in rows]


_ITEM = sa.bindparam("item", type_=sa.String)
NEIGHBOURS = CompiledStatement(
    sa.select(MediaFile.path)
    .where(
        MediaFile.host == sa.bindparam("host"),
        MediaFile.path >= sa.bindparam("first"),
        MediaFile.path <= sa.bindparam("last"),
        MediaFile.path != sa.bindparam("own"),
        sa.or_(MediaFile.title_pk != sa.bindparam("title_pk"), MediaFile.item != _ITEM),
        sa.not_(is_as_open_as(sa.bindparam("title_pk"), _ITEM, MediaFile)),
    )
    .limit(sa.bindparam("limit"))
)
"""The paths of other items' manifests on a host, in a range of paths."""
