"""IMDb's `title.basics.tsv`: UTF-8, tabs, a header, `\\N` for nothing, no quoting. For your own, non-commercial use.

Movies and series are taken, with what IMDb's other files say of them; games and the rest are told as passed over, and
so are episodes of which no `title.episode.tsv` tells the series.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import BinaryIO

from streamsvc.operations.catalog.formats import Entry, lines, refused, too_long
from streamsvc.operations.catalog.formats.imdb_files import BASICS, EPISODE, KINDS, NOTHING, Joined, cells


def read(file: BinaryIO, after: int = 0, others: Sequence[BinaryIO] = ()) -> Iterator[Entry]:
    """`others` are IMDb's other files, known by their headers; with them the file is read twice."""
    with closing(Joined()) as joined:
        if others:
            yield from joined.read(file, others)
            file.seek(0)
        for number, line in enumerate(lines(file), 1):
            if number == 1:
                if line is None or tuple(cells(line)) != BASICS:
                    yield refused(1, "unknown_format", "The first line is not that of IMDb's title.basics.tsv.")
                    return
            elif number > after and (entry := _entry(number, line, joined)):
                yield entry


def _entry(number, line, joined):
    """None for an episode, which comes with its series."""
    if line is None:
        return too_long(number)
    found = cells(line)
    if len(found) != len(BASICS):
        return refused(number, "malformed", f"The line has {len(found)} cells instead of {len(BASICS)}.")
    row = {name: None if cell == NOTHING else cell for name, cell in zip(BASICS, found, strict=True)}
    name = f"imdb:{row['tconst']}"
    if row["titleType"] == EPISODE and joined.has_episode(row["tconst"]):
        return None
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
    part |= joined.part(row["tconst"], part["kind"], part["title"])
    return Entry(number, part={field: value for field, value in part.items() if value}, external_id=name)
