"""What IMDb's other files add to the titles of `title.basics.tsv`: votes, names elsewhere, episodes, who took part.

They are joined in a database that is on disk and gone with the import, so that memory does not grow with them. Of each
only the rows of titles that `title.basics.tsv` has are kept, of `name.basics.tsv` only the people of these.
"""

import json
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any, BinaryIO

from streamsvc.operations.catalog.formats import Entry, TooLarge, lines, refused, text
from streamsvc.rules.catalog.codes import COUNTRIES, language
from streamsvc.rules.catalog.record import MOST_POPULAR

NOTHING = "\\N"
KINDS = {
    "movie": "movie", "tvMovie": "movie", "video": "movie", "short": "movie", "tvShort": "movie", "tvSpecial": "movie",
    "tvSeries": "series", "tvMiniSeries": "series",
}  # fmt: skip
EPISODE = "tvEpisode"
BASICS = (
    "tconst", "titleType", "primaryTitle", "originalTitle", "isAdult", "startYear", "endYear", "runtimeMinutes",
    "genres",
)  # fmt: skip
OTHERS = {
    "title.ratings": ("tconst", "averageRating", "numVotes"),
    "title.akas": (
        "titleId", "ordering", "title", "region", "language", "types", "attributes", "isOriginalTitle",
    ),
    "title.episode": ("tconst", "parentTconst", "seasonNumber", "episodeNumber"),
    "title.principals": ("tconst", "ordering", "nconst", "category", "job", "characters"),
    "title.crew": ("tconst", "directors", "writers"),
    "name.basics": ("nconst", "primaryName", "birthYear", "deathYear", "primaryProfession", "knownForTitles"),
}  # fmt: skip
"""Each file's columns, in the order in which the files are read."""
SPOKEN = dict(
    pair.split(":")
    for pair in """
    AR:es-AR AT:de-AT AU:en-AU BG:bg BR:pt-BR CL:es-CL CN:zh CO:es-CO CZ:cs DE:de DK:da EE:et EG:ar ES:es FI:fi FR:fr
    GB:en-GB GE:ka GR:el HK:zh-HK HR:hr HU:hu ID:id IL:he IR:fa IS:is IT:it JP:ja KR:ko LT:lt LV:lv MX:es-MX NL:nl NO:no
    NZ:en-NZ PE:es-PE PL:pl PT:pt RO:ro RS:sr RU:ru SE:sv SI:sl SK:sk TH:th TR:tr TW:zh-TW UA:uk US:en VE:es-VE VN:vi
    """.split()
)
"""The language of a region's titles where none is told; no regions of several languages."""
SHOWN = "imdbDisplay"
NOT_THERE = ("archive_footage", "archive_sound")
ROLES = {"actress": "actor"}
LONGEST = 500
"""Letters of a name, as a record takes it."""
BEHIND = 100_000
"""Who is named by `title.crew.tsv` comes behind those of `title.principals.tsv`."""
TABLES = """
    PRAGMA journal_mode=OFF;
    PRAGMA cache_size=-16384;
    CREATE TABLE titles(tconst PRIMARY KEY) WITHOUT ROWID;
    CREATE TABLE pieces(tconst PRIMARY KEY, title, minutes) WITHOUT ROWID;
    CREATE TABLE votes(tconst PRIMARY KEY, votes) WITHOUT ROWID;
    CREATE TABLE names(tconst, tag, preferred, place, title, PRIMARY KEY (tconst, tag, preferred, place)) WITHOUT ROWID;
    CREATE TABLE episodes(parent, season, number, tconst UNIQUE, PRIMARY KEY (parent, season, number)) WITHOUT ROWID;
    CREATE TABLE credits(tconst, place, nconst, role, character, PRIMARY KEY (tconst, place)) WITHOUT ROWID;
    CREATE INDEX credits_nconst ON credits(nconst);
    CREATE TABLE people(nconst PRIMARY KEY, name) WITHOUT ROWID;
    BEGIN;
"""
_wanted = "WHERE EXISTS (SELECT 1 FROM titles WHERE tconst = ?1)"
KEEP = {
    "title.ratings": f"INSERT OR IGNORE INTO votes SELECT ?1, ?2 {_wanted}",
    "title.akas": f"INSERT OR IGNORE INTO names SELECT ?1, ?2, ?3, ?4, ?5 {_wanted}",
    "title.episode": f"INSERT OR IGNORE INTO episodes SELECT ?1, ?2, ?3, ?4 {_wanted}",
    "title.principals": f"INSERT OR IGNORE INTO credits SELECT ?1, ?2, ?3, ?4, ?5 {_wanted}",
    "title.crew": f"INSERT OR IGNORE INTO credits SELECT ?1, ?2, ?3, ?4, ?5 {_wanted}",
    "name.basics": "INSERT OR IGNORE INTO people SELECT ?1, ?2 WHERE EXISTS (SELECT 1 FROM credits WHERE nconst = ?1)",
}
VOTES = "SELECT votes FROM votes WHERE tconst = ?"
NAMES = "SELECT tag, title FROM names WHERE tconst = ? ORDER BY tag, preferred, place DESC"
"""Of one language the last counts: how IMDb shows it, else what stands first."""
SEASONS = """
    SELECT season, number, title, minutes FROM episodes LEFT JOIN pieces USING (tconst) WHERE parent = ?
    ORDER BY season, number
"""
CREDITS = "SELECT name, role, character FROM credits JOIN people USING (nconst) WHERE tconst = ? ORDER BY place"


def cells(line: bytes) -> list[str]:
    return text(line).rstrip("\r\n").split("\t")


class Joined:
    """The rows of the other files, by title."""

    def __init__(self, most_lines: int = sys.maxsize):
        self.left = most_lines
        self.lines = 0
        """How many lines of the other files were read."""
        self.kept = sqlite3.connect("", isolation_level=None)  # a file that SQLite drops when it is closed
        self.kept.executescript(TABLES)

    def close(self) -> None:
        self.kept.close()

    def read(self, basics: BinaryIO, others: Sequence[BinaryIO]) -> Iterator[Entry]:
        """Keep what the files say; gives what is wrong in them, each file's name being the field."""
        found: dict[str, Iterator[bytes | None]] = {}
        for file in others:
            rest = lines(file, most=sys.maxsize)
            head = next(rest, None)
            name = next((name for name, columns in OTHERS.items() if head and tuple(cells(head)) == columns), None)
            if name is None or name in found:
                yield self._flaw("unknown_format", f"A file is none of {', '.join(OTHERS)}, or one of them twice.")
            else:
                found[name] = rest
        if "name.basics" not in found and found.keys() & {"title.principals", "title.crew"}:
            yield self._flaw("missing", "Without name.basics.tsv nobody who took part has a name.", "name.basics")
        self._keep_titles(basics)
        for name, rest in sorted(found.items(), key=lambda one: list(OTHERS).index(one[0])):
            yield from self._keep(name, rest)

    def _flaw(self, *told):
        """What is wrong with a whole file; it takes the place of a line."""
        self.lines += 1
        return refused(1, *told)._replace(before=self.lines - 1)

    def _keep_titles(self, basics):
        """Which titles there are, and what episodes are called; what is wrong is told when the titles are read."""
        for line in lines(basics):
            self._count()
            row = cells(line) if line else []
            try:
                if len(row) == len(BASICS) and row[1] in KINDS:
                    self.kept.execute("INSERT OR IGNORE INTO titles VALUES (?)", row[:1])
                elif len(row) == len(BASICS) and row[1] == EPISODE:
                    self.kept.execute("INSERT OR IGNORE INTO pieces VALUES (?, ?, ?)", (row[0], row[2], row[7]))
            except UnicodeEncodeError:
                continue

    def _count(self):
        self.left -= 1
        if self.left < 0:
            raise TooLarge("The files have together more lines than files may.")

    def _keep(self, name, rest):
        columns, rows, statement = OTHERS[name], ROWS[name], KEEP[name]
        before, self.lines = self.lines, self.lines + 1
        for number, line in enumerate(rest, 2):
            self.lines = before + number
            self._count()
            row = cells(line) if line else []
            if len(row) != len(columns):
                flaw = f"The line has {len(row)} cells instead of {len(columns)}."
                yield refused(number, "malformed", flaw, name)._replace(before=before)
                continue
            try:
                self.kept.executemany(statement, list(rows(row)))
            except (ValueError, TypeError, OverflowError) as error:
                flaw = f"The line cannot be read: {error}."
                yield refused(number, "wrong_type", flaw, name, f"imdb:{row[0]}")._replace(before=before)

    def has_episode(self, tconst: str) -> bool:
        """Whether an episode comes with its series."""
        found = "SELECT 1 FROM episodes WHERE tconst = ?"
        return self._all(found, tconst) != []

    def part(self, tconst: str, kind: str, title: str) -> dict[str, Any]:
        """What the files say about a title, in the fields of a record; what they do not tell is left out."""
        votes = self._all(VOTES, tconst)
        names = dict(self._all(NAMES, tconst))
        part = {
            "popularity": min(votes[0][0], MOST_POPULAR) if votes else None,
            "localizations": {tag: {"title": name} for tag, name in names.items() if name != title},
            "credits": self._credits(tconst),
            "seasons": self._seasons(tconst) if kind == "series" else [],
        }
        return {field: value for field, value in part.items() if value}

    def _credits(self, tconst):
        told = {}
        for name, role, character in self._all(CREDITS, tconst):
            told.setdefault(
                (name, role), {"name": name, "role": role} | ({"character": character} if character else {})
            )
        return list(told.values())

    def _seasons(self, tconst):
        seasons: dict[int, list] = {}
        for season, number, title, minutes in self._all(SEASONS, tconst):
            told = {"number": number, "title": title}
            if minutes and minutes.isdecimal() and int(minutes):
                told["runtime_s"] = int(minutes) * 60
            seasons.setdefault(season, []).append(told)
        return [{"number": number, "episodes": theirs} for number, theirs in seasons.items()]

    def _all(self, select, tconst):
        try:
            with closing(self.kept.execute(select, (tconst,))) as found:
                return found.fetchall()
        except UnicodeEncodeError:
            return []


def _ratings(row):
    yield row[0], int(row[2])


def _names(row):
    """Titles as they are shown somewhere; not working titles, those on a disc, or what they mean word by word."""
    tconst, place, title, region, spoken, types, attributes, original = row
    shown = types in (NOTHING, SHOWN) and attributes == NOTHING and original != "1" and 0 < len(title) <= LONGEST
    if shown and (tag := _tag(region, spoken)):
        yield tconst, tag, types == SHOWN, int(place), title


def _tag(region, spoken):
    """The BCP 47 tag of a title's region and language; None where they do not tell one."""
    usual = SPOKEN.get(region)
    if spoken == NOTHING:
        return usual
    tag = spoken if usual == spoken or region not in COUNTRIES else f"{spoken}-{region}"
    try:
        return language(tag)
    except ValueError:
        return None


def _episodes(row):
    tconst, parent, season, number = row
    if NOTHING not in (season, number):
        yield parent, int(season), int(number), tconst


def _principals(row):
    tconst, place, nconst, category, _, characters = row
    if category not in NOT_THERE:
        played = ", ".join(json.loads(characters))[:LONGEST] if characters != NOTHING else None
        yield tconst, int(place), nconst, ROLES.get(category, category), played


def _crew(row):
    tconst, directors, writers = row
    told = [(nconst, "director") for nconst in _listed(directors)] + [(nconst, "writer") for nconst in _listed(writers)]
    for place, (nconst, role) in enumerate(told, BEHIND):
        yield tconst, place, nconst, role, None


def _listed(cell):
    return [] if cell == NOTHING else cell.split(",")


def _people(row):
    if 0 < len(row[1]) <= LONGEST:
        yield row[:2]


ROWS = {
    "title.ratings": _ratings,
    "title.akas": _names,
    "title.episode": _episodes,
    "title.principals": _principals,
    "title.crew": _crew,
    "name.basics": _people,
}
"""What is kept of each file's line: rows for its table."""
