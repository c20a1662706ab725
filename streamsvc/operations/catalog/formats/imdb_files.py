"""Data that IMDb's other files add to `title.basics.tsv`: votes, local titles, episodes, cast and crew.

The files are joined in a temporary database on disk, so memory does not grow with them. It stores only rows of titles
in `title.basics.tsv`, and of `name.basics.tsv` only the people of those titles.
"""

import json
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any, BinaryIO

from streamsvc.operations.catalog.formats import FileEntry, FileTooLarge, decode_line, iter_lines, rejected_entry
from streamsvc.rules.catalog.codes import COUNTRIES, normalize_language_tag
from streamsvc.rules.catalog.record import MAX_POPULARITY

NULL_CELL = "\\N"
TITLE_KINDS = {
    "movie": "movie", "tvMovie": "movie", "video": "movie", "short": "movie", "tvShort": "movie", "tvSpecial": "movie",
    "tvSeries": "series", "tvMiniSeries": "series",
}  # fmt: skip
EPISODE_TYPE = "tvEpisode"
BASICS_COLUMNS = (
    "tconst", "titleType", "primaryTitle", "originalTitle", "isAdult", "startYear", "endYear", "runtimeMinutes",
    "genres",
)  # fmt: skip
OTHER_FILES = {
    "title.ratings": ("tconst", "averageRating", "numVotes"),
    "title.akas": (
        "titleId", "ordering", "title", "region", "language", "types", "attributes", "isOriginalTitle",
    ),
    "title.episode": ("tconst", "parentTconst", "seasonNumber", "episodeNumber"),
    "title.principals": ("tconst", "ordering", "nconst", "category", "job", "characters"),
    "title.crew": ("tconst", "directors", "writers"),
    "name.basics": ("nconst", "primaryName", "birthYear", "deathYear", "primaryProfession", "knownForTitles"),
}  # fmt: skip
"""The columns of each file, in the order in which the files are read."""
REGION_LANGUAGES = dict(
    pair.split(":")
    for pair in """
    AR:es-AR AT:de-AT AU:en-AU BG:bg BR:pt-BR CL:es-CL CN:zh CO:es-CO CZ:cs DE:de DK:da EE:et EG:ar ES:es FI:fi FR:fr
    GB:en-GB GE:ka GR:el HK:zh-HK HR:hr HU:hu ID:id IL:he IR:fa IS:is IT:it JP:ja KR:ko LT:lt LV:lv MX:es-MX NL:nl NO:no
    NZ:en-NZ PE:es-PE PL:pl PT:pt RO:ro RS:sr RU:ru SE:sv SI:sl SK:sk TH:th TR:tr TW:zh-TW UA:uk US:en VE:es-VE VN:vi
    """.split()
)
"""The language of a region's titles if none is stated; regions with several languages are omitted."""
DISPLAY_TYPE = "imdbDisplay"
EXCLUDED_CATEGORIES = ("archive_footage", "archive_sound")
CREDIT_ROLES = {"actress": "actor"}
MAX_NAME_LENGTH = 500
"""Characters of a name that a record accepts."""
CREW_OFFSET = 100_000
"""Added to the positions of people in `title.crew.tsv`, who follow those in `title.principals.tsv`."""
CREATE_TABLES = """
    PRAGMA journal_mode=OFF;
    PRAGMA cache_size=-16384;
    CREATE TABLE titles(tconst PRIMARY KEY) WITHOUT ROWID;
    CREATE TABLE episode_titles(tconst PRIMARY KEY, title, minutes) WITHOUT ROWID;
    CREATE TABLE votes(tconst PRIMARY KEY, votes) WITHOUT ROWID;
    CREATE TABLE names(
        tconst, tag, preferred, position, title, PRIMARY KEY (tconst, tag, preferred, position)
    ) WITHOUT ROWID;
    CREATE TABLE episodes(parent, season, number, tconst UNIQUE, PRIMARY KEY (parent, season, number)) WITHOUT ROWID;
    CREATE TABLE credits(tconst, position, nconst, role, character, PRIMARY KEY (tconst, position)) WITHOUT ROWID;
    CREATE INDEX credits_nconst ON credits(nconst);
    CREATE TABLE people(nconst PRIMARY KEY, name) WITHOUT ROWID;
    BEGIN;
"""
_title_exists = "WHERE EXISTS (SELECT 1 FROM titles WHERE tconst = ?1)"
INSERTS = {
    "title.ratings": f"INSERT OR IGNORE INTO votes SELECT ?1, ?2 {_title_exists}",
    "title.akas": f"INSERT OR IGNORE INTO names SELECT ?1, ?2, ?3, ?4, ?5 {_title_exists}",
    "title.episode": f"INSERT OR IGNORE INTO episodes SELECT ?1, ?2, ?3, ?4 {_title_exists}",
    "title.principals": f"INSERT OR IGNORE INTO credits SELECT ?1, ?2, ?3, ?4, ?5 {_title_exists}",
    "title.crew": f"INSERT OR IGNORE INTO credits SELECT ?1, ?2, ?3, ?4, ?5 {_title_exists}",
    "name.basics": "INSERT OR IGNORE INTO people SELECT ?1, ?2 WHERE EXISTS (SELECT 1 FROM credits WHERE nconst = ?1)",
}
SELECT_VOTES = "SELECT votes FROM votes WHERE tconst = ?"
SELECT_NAMES = "SELECT tag, title FROM names WHERE tconst = ? ORDER BY tag, preferred, position DESC"
"""The last title of a language counts: the one IMDb displays, else its first."""
SELECT_EPISODES = """
    SELECT season, number, title, minutes FROM episodes LEFT JOIN episode_titles USING (tconst) WHERE parent = ?
    ORDER BY season, number
"""
SELECT_CREDITS = (
    "SELECT nconst, name, role, character FROM credits JOIN people USING (nconst) WHERE tconst = ? ORDER BY position"
)


def split_cells(line: bytes) -> list[str]:
    """Return the cells of a line."""
    return decode_line(line).rstrip("\r\n").split("\t")


class ImdbDatabase:
    """A temporary database of the other files' rows, by title."""

    def __init__(self, most_lines: int = sys.maxsize):
        self.lines_left = most_lines
        self.lines_read = 0
        """How many lines of the other files have been read."""
        self.connection = sqlite3.connect("", isolation_level=None)  # a temporary file that SQLite deletes on close
        self.connection.executescript(CREATE_TABLES)

    def close(self) -> None:
        """Close and delete the database."""
        self.connection.close()

    def load_files(self, basics: BinaryIO, others: Sequence[BinaryIO]) -> Iterator[FileEntry]:
        """Load the files, yielding an entry for each error; its field is the file's name. Raises FileTooLarge."""
        lines_by_file: dict[str, Iterator[bytes | None]] = {}
        for file in others:
            rest = iter_lines(file, max_lines=sys.maxsize)
            head = next(rest, None)
            name = next(
                (name for name, columns in OTHER_FILES.items() if head and tuple(split_cells(head)) == columns), None
            )
            if name is None or name in lines_by_file:
                yield self._rejected_file(
                    "unknown_format", f"A file is none of {', '.join(OTHER_FILES)}, or a duplicate."
                )
            else:
                lines_by_file[name] = rest
        if "name.basics" not in lines_by_file and lines_by_file.keys() & {"title.principals", "title.crew"}:
            yield self._rejected_file(
                "missing", "name.basics.tsv is missing; without it cast and crew have no names.", "name.basics"
            )
        self._store_titles(basics)
        for name, rest in sorted(lines_by_file.items(), key=lambda item: list(OTHER_FILES).index(item[0])):
            yield from self._store_rows(name, rest)

    def _rejected_file(self, *error: str) -> FileEntry:
        """Return the entry of a rejected file, which counts as one line."""
        self.lines_read += 1
        return rejected_entry(1, *error)._replace(before=self.lines_read - 1)

    def _store_titles(self, basics: Any) -> None:
        """Store which titles exist and what episodes are called; errors are reported when the titles are read."""
        for line in iter_lines(basics):
            self._count_line()
            row = split_cells(line) if line else []
            try:
                if len(row) == len(BASICS_COLUMNS) and row[1] in TITLE_KINDS:
                    self.connection.execute("INSERT OR IGNORE INTO titles VALUES (?)", row[:1])
                elif len(row) == len(BASICS_COLUMNS) and row[1] == EPISODE_TYPE:
                    self.connection.execute(
                        "INSERT OR IGNORE INTO episode_titles VALUES (?, ?, ?)", (row[0], row[2], row[7])
                    )
            except UnicodeEncodeError:
                continue

    def _count_line(self) -> None:
        self.lines_left -= 1
        if self.lines_left < 0:
            raise FileTooLarge("The files together have too many lines.")

    def _store_rows(self, name: str, lines: Any) -> Iterator[FileEntry]:
        """Store the rows of a file after its header, yielding an entry for each line that cannot be read."""
        columns, rows, statement = OTHER_FILES[name], ROW_PARSERS[name], INSERTS[name]
        before, self.lines_read = self.lines_read, self.lines_read + 1
        for number, line in enumerate(lines, 2):
            self.lines_read = before + number
            self._count_line()
            row = split_cells(line) if line else []
            if len(row) != len(columns):
                reason = f"The line has {len(row)} cells instead of {len(columns)}."
                yield rejected_entry(number, "malformed", reason, name)._replace(before=before)
                continue
            try:
                self.connection.executemany(statement, list(rows(row)))
            except (ValueError, TypeError, OverflowError):
                reason = "The line has text where a number belongs, or a number that is too large."
                yield rejected_entry(number, "wrong_type", reason, name, f"imdb:{row[0]}")._replace(before=before)

    def has_episode(self, tconst: str | None) -> bool:
        """Whether the series of an episode is known."""
        select = "SELECT 1 FROM episodes WHERE tconst = ?"
        return self._fetch_all(select, tconst) != []

    def partial_record(self, tconst: str | None, kind: str, title: str) -> dict[str, Any]:
        """Return what the files say about a title, as fields of a record without the empty ones."""
        votes = self._fetch_all(SELECT_VOTES, tconst)
        names = dict(self._fetch_all(SELECT_NAMES, tconst))
        part = {
            "popularity": min(votes[0][0], MAX_POPULARITY) if votes else None,
            "localizations": {tag: {"title": name} for tag, name in names.items() if name != title},
            "credits": self._credits(tconst),
            "seasons": self._seasons(tconst) if kind == "series" else [],
        }
        return {field: value for field, value in part.items() if value}

    def _credits(self, tconst: str | None) -> list[dict]:
        credits: dict[tuple, dict] = {}
        for nconst, name, role, character in self._fetch_all(SELECT_CREDITS, tconst):
            credit = {"name": name, "role": role, "person": f"imdb:{nconst}"}
            credits.setdefault((nconst, role), credit | ({"character": character} if character else {}))
        return list(credits.values())

    def _seasons(self, tconst: str | None) -> list[dict]:
        seasons: dict[int, list] = {}
        for season, number, title, minutes in self._fetch_all(SELECT_EPISODES, tconst):
            episode = {"number": number, "title": title}
            if minutes and minutes.isdecimal() and int(minutes):
                episode["runtime_s"] = int(minutes) * 60
            seasons.setdefault(season, []).append(episode)
        return [{"number": number, "episodes": episodes} for number, episodes in seasons.items()]

    def _fetch_all(self, select: str, tconst: str | None) -> list[tuple]:
        try:
            with closing(self.connection.execute(select, (tconst,))) as cursor:
                return cursor.fetchall()
        except UnicodeEncodeError:
            return []


def _rating_rows(row: list[str]) -> Iterator[tuple]:
    yield row[0], int(row[2])


def _name_rows(row: list[str]) -> Iterator[tuple]:
    """Yield titles displayed in a region; not working titles, titles of disc releases or literal translations."""
    tconst, position, title, region, language_code, types, attributes, original = row
    is_displayed = (
        types in (NULL_CELL, DISPLAY_TYPE)
        and attributes == NULL_CELL
        and original != "1"
        and 0 < len(title) <= MAX_NAME_LENGTH
    )
    if is_displayed and (tag := _language_tag(region, language_code)):
        yield tconst, tag, types == DISPLAY_TYPE, int(position), title


def _language_tag(region: str, language_code: str) -> str | None:
    """Return the BCP 47 tag for a title's region and language; None if they do not determine one."""
    default = REGION_LANGUAGES.get(region)
    if language_code == NULL_CELL:
        return default
    tag = language_code if default == language_code or region not in COUNTRIES else f"{language_code}-{region}"
    try:
        return normalize_language_tag(tag)
    except ValueError:
        return None


def _episode_rows(row: list[str]) -> Iterator[tuple]:
    tconst, parent, season, number = row
    if NULL_CELL not in (season, number):
        yield parent, int(season), int(number), tconst


def _principal_rows(row: list[str]) -> Iterator[tuple]:
    tconst, position, nconst, category, _, characters = row
    if category not in EXCLUDED_CATEGORIES:
        character = ", ".join(json.loads(characters))[:MAX_NAME_LENGTH] if characters != NULL_CELL else None
        yield tconst, int(position), nconst, CREDIT_ROLES.get(category, category), character


def _crew_rows(row: list[str]) -> Iterator[tuple]:
    tconst, directors, writers = row
    people = [(nconst, "director") for nconst in _split_list(directors)] + [
        (nconst, "writer") for nconst in _split_list(writers)
    ]
    for position, (nconst, role) in enumerate(people, CREW_OFFSET):
        yield tconst, position, nconst, role, None


def _split_list(cell: str) -> list[str]:
    return [] if cell == NULL_CELL else cell.split(",")


def _person_rows(row: list[str]) -> Iterator[list[str]]:
    if 0 < len(row[1]) <= MAX_NAME_LENGTH:
        yield row[:2]


ROW_PARSERS = {
    "title.ratings": _rating_rows,
    "title.akas": _name_rows,
    "title.episode": _episode_rows,
    "title.principals": _principal_rows,
    "title.crew": _crew_rows,
    "name.basics": _person_rows,
}
"""The function that turns a line of each file into rows of its table."""
