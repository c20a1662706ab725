"""IMDb's `title.basics.tsv`: UTF-8, tabs, a header, `\\N` for nothing, no quoting. For your own, non-commercial use.

Movies and series are taken; episodes, games and the rest are told as passed over.
"""

from collections.abc import Iterator
from typing import BinaryIO

from streamsvc.operations.catalog.formats import Entry, lines, refused, text, too_long

COLUMNS = (
    "tconst", "titleType", "primaryTitle", "originalTitle", "isAdult", "startYear", "endYear", "runtimeMinutes",
    "genres",
)  # fmt: skip
KINDS = {
    "movie": "movie", "tvMovie": "movie", "video": "movie", "short": "movie", "tvShort": "movie", "tvSpecial": "movie",
    "tvSeries": "series", "tvMiniSeries": "series",
}  # fmt: skip
NOTHING = "\\N"


def read(file: BinaryIO, after: int = 0) -> Iterator[Entry]:
    for number, line in enumerate(lines(file), 1):
        if number == 1:
            if line is None or tuple(_cells(line)) != COLUMNS:
                yield refused(1, "unknown_format", "The first line is not that of IMDb's title.basics.tsv.")
                return
        elif number > after:
            yield too_long(number) if line is None else _entry(number, _cells(line))


def _cells(line):
    return text(line).rstrip("\r\n").split("\t")


def _entry(number, cells):
    if len(cells) != len(COLUMNS):
        return refused(number, "malformed", f"The line has {len(cells)} cells instead of {len(COLUMNS)}.")
    row = {name: None if cell == NOTHING else cell for name, cell in zip(COLUMNS, cells, strict=True)}
    name = f"imdb:{row['tconst']}"
    if row["titleType"] not in KINDS:
        return refused(number, "not_taken", f"{row['titleType']} is neither a movie nor a series.", "titleType", name)
    if row["runtimeMinutes"] and not row["runtimeMinutes"].isdecimal():
        return refused(number, "wrong_type", "Minutes are a whole number.", "runtimeMinutes", name)
    part = {
        "external_id": name,
        "kind": KINDS[row["titleType"]],
        "title": row["primaryTitle"],
        "original_title": row["originalTitle"] if row["originalTitle"] != row["primaryTitle"] else None,
        "year": row["startYear"],
        "runtime_s": int(row["runtimeMinutes"]) * 60 if row["runtimeMinutes"] else None,
        "genres": row["genres"].split(",") if row["genres"] else [],
        "external_ids": {"imdb": row["tconst"]},
    }
    return Entry(number, part={field: value for field, value in part.items() if value}, external_id=name)
