"""NFO files of Kodi and Jellyfin: a library's folder, an archive of one, or a single file.

A film is an NFO file; a series is a `tvshow.nfo` with the NFO files of its seasons and episodes in the folders below.
The "line" of an entry is the number of its last NFO file, in the order of the folders. A series is read whole, and so
replaces the seasons of an earlier import. XML with a DTD is rejected, so no entity is ever expanded.
"""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO

from streamsvc.operations.catalog.formats import FileEntry, FileWarning, ReadOptions, rejected_entry
from streamsvc.operations.catalog.formats.library import LINK, SHOW_FILE, Library, LibraryFile, open_library
from streamsvc.operations.catalog.formats.nfo_art import find_art, find_media
from streamsvc.operations.catalog.formats.nfo_documents import Document, InvalidNfo, parse_nfo
from streamsvc.operations.catalog.formats.nfo_fields import (
    check_episode,
    episode_fields,
    season_fields,
    season_titles,
    title_fields,
)
from streamsvc.rules.catalog.cells import split_title_year
from streamsvc.rules.catalog.external_ids import derive_external_id
from streamsvc.rules.catalog.text import slugify

MOVIE_FILE = "movie.nfo"


def read_nfo(source: BinaryIO | Path, after: int = 0, options: ReadOptions | None = None) -> Iterator[FileEntry]:
    """Yield the entries of a library. Raises OSError, BadZipFile and FileTooLarge."""
    with closing(open_library(source)) as library:
        yield from _LibraryReader(library, options or ReadOptions()).entries(after)
        for number, (path, code, reason) in enumerate(library.skipped(), library.count_nfo_files() + 1):
            if number > after:
                yield _skipped_entry(number, path, code, reason)


def _skipped_entry(number: int, path: str, code: str, reason: str) -> FileEntry:
    """Return the entry of a file that was not read; a link is usual, and its target is read where it lies."""
    if code == LINK:
        return FileEntry(number, file=path, warnings=(FileWarning("", code, reason),))
    return rejected_entry(number, code, reason)._replace(file=path)


class _LibraryReader:
    """Reads the entries of an indexed library."""

    def __init__(self, library: Library, options: ReadOptions):
        self.library, self.base_url = library, options.media_base_url

    def entries(self, after: int) -> Iterator[FileEntry]:
        """Yield films and series in order; those up to line `after` are skipped without being parsed."""
        show: list[tuple[int, LibraryFile]] = []
        for number, file in enumerate(self.library.nfo_files(), 1):
            if show and not file.path.startswith(show[0][1].folder):
                yield from self._show_entries(show, after)
                show = []
            if show and file.name.lower() != SHOW_FILE:
                show.append((number, file))
            elif file.name.lower() == SHOW_FILE:
                yield from self._show_entries(show, after)
                show = [(number, file)]
            elif number > after:
                yield self._movie_entry(number, file)
        yield from self._show_entries(show, after)

    def _movie_entry(self, number: int, file: LibraryFile) -> FileEntry:
        try:
            document = parse_nfo(self.library.read_text(file))
        except InvalidNfo as invalid:
            return _rejected(number, file, invalid.code, str(invalid))
        root = document.roots[0].tag if document.roots else "movie"
        if root == "episodedetails":
            return _rejected(number, file, "missing", "An episode needs a tvshow.nfo in its folder or in one above.")
        if root != "movie":
            return _rejected(number, file, "not_taken", f"<{root[:50]}> is neither a film nor a series.")
        return self._title_entry(number, file, document, "movie", {})

    def _title_entry(
        self, number: int, file: LibraryFile, document: Document, kind: str, more: dict[str, Any]
    ) -> FileEntry:
        """Return the entry of a film or series; one whose NFO is only an address has its title from the path."""
        fields, warnings, collections = title_fields(document, kind)
        base_name = None if file.name.lower() in (MOVIE_FILE, SHOW_FILE) else file.stem
        siblings = self.library.list_siblings(file, is_named_after=base_name is not None)
        if art := find_art(siblings, base_name, self.base_url):
            fields["artwork"] = art + fields.get("artwork", [])
        if kind == "movie" and (media := find_media(siblings, base_name, self.base_url, warnings)):
            fields["media"] = media
        title, year = split_title_year(base_name or file.folder.rstrip("/").rpartition("/")[2] or file.stem)
        defaults = {"title": title} | ({"year": year} if year else {})
        part = {"kind": kind, **fields, **more}
        part["external_id"] = external_id = derive_external_id(defaults | part) or f"title:{slugify(file.path)[:150]}"
        return FileEntry(
            number, part=part, external_id=external_id, file=file.path, warnings=tuple(warnings), defaults=defaults,
            collections=tuple(collections),
        )  # fmt: skip

    def _show_entries(self, members: list[tuple[int, LibraryFile]], after: int) -> Iterator[FileEntry]:
        """Yield the entry of a series, if it ends after line `after`, and those of its files that cannot be read."""
        if not members or members[-1][0] <= after:
            return
        (_, show_file), last = members[0], members[-1][0]
        show = None
        rejections: list[FileEntry] = []
        warnings: list[FileWarning] = []
        seasons: dict[int, dict[str, Any]] = {}
        for number, file in members:
            try:
                document = parse_nfo(self.library.read_text(file))
                if file is not show_file:
                    self._add_to_seasons(seasons, file, document, warnings)
                elif document.roots and document.roots[0].tag != "tvshow":
                    raise InvalidNfo("not_taken", "Its root must be <tvshow>.")
                else:
                    show = document
            except InvalidNfo as invalid:
                rejections.append(_rejected(number, file, invalid.code, str(invalid)))
        if show is None:
            reason = "The series has no readable tvshow.nfo, so its episodes were left out."
            rejections.append(_rejected(last, members[-1][1], "missing", reason))
            yield from rejections
            return
        yield from (rejection for rejection in rejections if rejection.line < last)
        entry = self._title_entry(last, show_file, show, "series", _list_seasons(show, seasons))
        entry = entry._replace(warnings=(*entry.warnings, *warnings))
        own = next((rejection for rejection in rejections if rejection.line == last), None)
        yield entry._replace(errors=own.errors, file=own.file) if own else entry

    def _add_to_seasons(
        self, seasons: dict[int, dict[str, Any]], file: LibraryFile, document: Document, warnings: list[FileWarning]
    ) -> None:
        """Add a season's title, or an NFO file's episodes. Raises InvalidNfo."""
        for root in document.roots:
            if root.tag == "season":
                number, fields = season_fields(root)
                seasons.setdefault(number, {}).update(fields)
            elif root.tag == "episodedetails":
                number, episode = episode_fields(root)
                siblings = self.library.list_siblings(file, is_named_after=True)
                if media := find_media(siblings, file.stem, self.base_url, warnings):
                    episode["media"] = media
                if art := find_art(siblings, file.stem, self.base_url, is_episode=True):
                    episode["artwork"] = art
                check_episode(episode)
                seasons.setdefault(number, {}).setdefault("episodes", {})[episode["number"]] = episode
            else:
                raise InvalidNfo("not_taken", f"<{root.tag[:50]}> is neither a season nor an episode.")


def _list_seasons(show: Document, seasons: dict[int, dict[str, Any]]) -> dict[str, Any]:
    """Return the record's `seasons`, with the titles that the series' own file has."""
    for number, title in season_titles(show).items():
        if number in seasons:
            seasons[number].setdefault("title", title)
    listed = [
        {"number": number, **season, "episodes": [episode for _, episode in sorted(season.get("episodes", {}).items())]}
        for number, season in sorted(seasons.items())
    ]
    return {"seasons": listed} if listed else {}


def _rejected(number: int, file: LibraryFile, code: str, reason: str) -> FileEntry:
    return rejected_entry(number, code, reason)._replace(file=file.path)
