"""The artwork and media files that lie beside an NFO file, by the names that Kodi and Jellyfin give them."""

import re
from collections.abc import Sequence

from streamsvc.operations.catalog.formats import FileWarning
from streamsvc.operations.catalog.formats.library import ART_EXTENSIONS, LibraryFile
from streamsvc.operations.catalog.formats.media_addresses import MEDIA_EXTENSIONS, find_media_kind, join_address
from streamsvc.rules.playback.media_paths import parse_media_url

ART_ROLES = {
    "poster": "poster", "folder": "poster", "cover": "poster", "movie": "poster", "show": "poster",
    "fanart": "backdrop", "backdrop": "backdrop", "background": "backdrop", "logo": "logo", "clearlogo": "logo",
    "banner": "banner", "landscape": "landscape", "thumb": "landscape", "clearart": "clearart", "keyart": "keyart",
}  # fmt: skip
"""The role of an image by its name, alone or after the film's name and a dash."""
EPISODE_ART_ROLES = {"": "still", "thumb": "still"}
_EXTRA = re.compile(
    r"(^|[-._ ])(trailer|sample|teaser|behindthescenes|deleted|featurette|interview|scene|short)\d*$", re.IGNORECASE
)
MAX_STRM_LENGTH = 2_000


def find_art(
    files: Sequence[LibraryFile], base_name: str | None, base_url: str | None, is_episode: bool = False
) -> list[dict[str, str]]:
    """Return the artwork of the title with this file name; without a base address images have none."""
    if base_url is None:
        return []
    roles = EPISODE_ART_ROLES if is_episode else ART_ROLES
    art: dict[str, str] = {}
    for file in files:
        if file.name.rpartition(".")[2].lower() not in ART_EXTENSIONS:
            continue
        role = roles.get(_art_name(file.stem, base_name, is_episode))
        if role and role not in art:
            art[role] = join_address(base_url, file.path)
    return [{"role": role, "url": url} for role, url in art.items()]


def _art_name(stem: str, base_name: str | None, is_episode: bool) -> str:
    """Return `poster` for `poster` and for `Alien (1979)-poster`; an episode's images begin with its name."""
    if base_name and stem.startswith(base_name):
        return stem[len(base_name) :].lstrip("-").lower() or ("" if is_episode else "poster")
    return "?" if is_episode else stem.lower()


def find_media(
    files: Sequence[LibraryFile], base_name: str | None, base_url: str | None, warnings: list[FileWarning]
) -> dict[str, str]:
    """Return the media of the title with this file name, or of the only title of the folder: one file of each kind."""
    found: dict[str, str] = {}
    candidates = [file for file in files if not _EXTRA.search(file.stem)]
    if base_name:
        candidates = [file for file in candidates if file.stem == base_name]
    for file in candidates:
        url = _strm_address(file.body) if file.body is not None else base_url and join_address(base_url, file.path)
        kind = find_media_kind(url or "")
        if url and kind and kind not in found:
            try:
                parse_media_url(url)
            except ValueError as error:
                reason = f"Media files whose addresses no player could ask for were left out. {error}"
                warnings.append(FileWarning("media", "unsafe_address", reason))
            else:
                found[kind] = url
    return dict(sorted(found.items(), key=lambda item: _preference(item[0])))


def _strm_address(body: bytes) -> str | None:
    """Return the address in a STRM file: its first line that is one."""
    lines = body[:MAX_STRM_LENGTH].decode(errors="replace").split()
    return next((line for line in lines if line.startswith(("http://", "https://"))), None)


def _preference(kind: str) -> int:
    return {"hls": 0, "dash": 1}.get(kind, 2 + MEDIA_EXTENSIONS.index(kind) if kind in MEDIA_EXTENSIONS else 99)
