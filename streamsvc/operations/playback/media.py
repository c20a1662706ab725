"""The media of an item: the URLs of its manifests, and what a playback token opens for them."""

from typing import Any
from urllib.parse import urlencode, urlsplit

import msgspec
import sqlalchemy as sa

from streamsvc.models import ChannelMediaFile, MediaFile
from streamsvc.operations.catalog.titles.media_files import (
    LAST_CODE_POINT,
    is_as_open_as,
    locate_media,
    normalize_host,
)
from streamsvc.operations.playback.playables import Playable
from streamsvc.rules.playback.media_paths import MediaLocation, opened_paths, qualify_paths, split_media_pattern
from streamsvc.rules.playback.tokens import MediaScope
from streamsvc.settings import Settings, current_settings
from streamsvc.storage.compiled_statements import CompiledStatement

HLS, DASH = "hls", "dash"
FILTERED_NAMES = {HLS: "master.m3u8", DASH: "manifest.mpd"}
"""The manifests that this service can serve itself, by type."""
MAX_NEIGHBOURS = 200
"""With more manifests that begin with the stem of one, that one opens only its own file."""


def manifest_views(playable: Playable, stream_id: str, token: str) -> list[dict]:
    """Return [{type, url}] of the item's manifests, of which this service may serve some itself."""
    base, query = f"{current_settings().public_url}/v1/playback/{stream_id}", urlencode({"grant": token})
    views = []
    for kind in playable.media or (HLS,):
        url = find_media_url(playable, kind)
        if url and is_filtered(kind, url):
            url = f"{base}/{FILTERED_NAMES[kind]}?{query}"
        views.append({"type": kind, "url": url})
    return views


def is_filtered(kind: str, url: str) -> bool:
    """Whether this service serves a manifest itself; not if a CDN requires signatures, which it has not."""
    settings = current_settings()
    is_signed = any(signer.host == urlsplit(url).hostname for signer in settings.media_signers)
    return settings.filter_manifests and kind in FILTERED_NAMES and not is_signed


def find_media_url(playable: Playable, kind: str) -> str | None:
    """Return the URL of a manifest that the catalogue names, else that of STREAMSVC_MEDIA_URL, which is for HLS."""
    settings = current_settings()
    media = playable.media or {HLS: settings.media_url.replace("{item_id}", playable.row.item_id)}
    url = media.get(kind)
    return settings.public_url + url if url and url.startswith("/") else url


def load_media_scope(playable: Playable, max_height: int | None) -> MediaScope:
    """Return what a stream of the item may fetch, up to a picture height in lines.

    Variants that the catalogue declares are opened, or denied if they are higher; those of an extra only if no other
    item's manifest is there. A stored address that is not valid opens nothing.
    """
    settings = current_settings()
    opened = _opened_by_manifest(playable, settings)
    too_high = [v for v in playable.variants if max_height is not None and (v.height or 0) > max_height]
    denied = dict.fromkeys(_variant_path(variant.path, location) for variant in too_high for location in opened)
    denied |= dict.fromkeys(playable.denied_paths(dict.fromkeys(location.folder for location in opened)))
    paths_by_host: dict[str, list[str]] = {}
    for location, paths in opened.items():
        variants = [
            path
            for path in (_variant_path(variant.path, location) for variant in playable.variants)
            if not (playable.is_extra and _list_neighbours(path, _own_files(location, playable), limit=1))
        ]
        host = location.host or urlsplit(settings.public_url).hostname or ""
        paths_by_host.setdefault(host, []).extend([*paths, *(path for path in variants if path not in denied)])
    return MediaScope(tuple(paths_by_host), tuple(qualify_paths(paths_by_host)), tuple(denied))


def _opened_by_manifest(playable: Playable, settings: Settings) -> dict[MediaLocation, list[str]]:
    """Return the paths that each manifest of the item opens on its host."""
    if playable.media:
        locations = [location for url in playable.media.values() if (location := _locate_or_none(url))]
        return {location: _opened_paths(location, playable, settings) for location in locations}
    location = locate_media(settings.media_url.replace("{item_id}", playable.row.item_id))
    has_own_folder = "{item_id}" in settings.media_url.rpartition("/")[0]
    return {location: opened_paths(location, (), has_own_folder)}


def _variant_path(path: str, location: MediaLocation) -> str:
    """Return the path of a declared variant, which may be below the folder of each of the item's manifests."""
    return path if path.startswith("/") else location.folder + path


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
    unnamed = [static_path] if normalize_host(pattern.host) in ("", location.host) else []
    own = _own_files(location, playable)
    is_shared = any(path.startswith(location.folder) for path in unnamed) or not playable.owns_folder(location)
    if not is_shared and not _list_neighbours(location.folder, own, limit=1):
        return opened_paths(location, (), has_own_folder=True)
    neighbours = _list_neighbours(location.stem, own, MAX_NEIGHBOURS)
    if len(neighbours) == MAX_NEIGHBOURS:
        return [location.path]
    return opened_paths(location, neighbours + unnamed, has_own_folder=False)


def _own_files(location: MediaLocation, playable: Playable) -> dict[str, Any]:
    """Return the parameters of NEIGHBOURS that say which manifest is the item's own."""
    return {"host": location.host, "own": location.path, **playable.media_owner}


def _list_neighbours(prefix: str, own: dict[str, Any], limit: int) -> list[str]:
    """Return up to `limit` paths of other items' manifests that start with `prefix`."""
    rows = NEIGHBOURS.all(**own, first=prefix, last=prefix + LAST_CODE_POINT, limit=limit)
    return [row.path for row in rows]


_TITLE_PK, _ITEM = sa.bindparam("title_pk", type_=sa.Integer), sa.bindparam("item", type_=sa.String)


def _select_files(file: Any, *is_other: sa.ColumnElement[bool]) -> sa.Select:
    return sa.select(file.path).where(
        file.host == sa.bindparam("host"),
        file.path >= sa.bindparam("first"),
        file.path <= sa.bindparam("last"),
        file.path != sa.bindparam("own"),
        *is_other,
    )


NEIGHBOURS = CompiledStatement(
    sa.union_all(
        _select_files(
            MediaFile,
            sa.or_(MediaFile.title_pk != _TITLE_PK, MediaFile.item != _ITEM),
            sa.not_(is_as_open_as(_TITLE_PK, _ITEM, MediaFile)),
        ),
        _select_files(ChannelMediaFile, ChannelMediaFile.channel_pk != sa.bindparam("channel_pk")),
    ).limit(sa.bindparam("limit"))
)
"""The paths of other items' manifests on a host, in a range of paths."""
