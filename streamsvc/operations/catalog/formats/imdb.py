"""IMDb's `title.basics.tsv`: UTF-8, tabs, a header, `\\N` for nothing, no quoting. For your own, non-commercial use.

Movies and series are taken, with what IMDb's other files say of them; games and the rest are told as passed over, and
so are episodes of which no `title.episode.tsv` tells the series.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import BinaryIO

from streamsvc.operations.catalog.formats import FileEntry, iter_lines, overlong_line_entry, rejected_entry
from streamsvc.operations.catalog.formats.imdb_files import (
    BASICS_COLUMNS,
    EPISODE_TYPE,
    NULL_CELL,
    TITLE_KINDS,
    ImdbDatabase,
    split_cells,
)


def read_imdb(
    file: BinaryIO, after: int = 0, others: Sequence[BinaryIO] = (), max_lines: int = sys.maxsize
) -> Iterator[FileEntry]:
    """The files may stand in any order, they are known by their headers; with several, `title.basics` is read twice.

    Lines of the others come before its own. Raises TooLarge where several have more than `most_together` lines.
    """
    file, others = _basics_first([file, *others])
    with closing(ImdbDatabase(max_lines)) as joined:
        if others:
            yield from (entry for entry in joined.load_files(file, others) if entry.overall_line > after)
            file.seek(0)
        for number, line in enumerate(iter_lines(file), 1):
            if number == 1:
                if line is None or tuple(split_cells(line)) != BASICS_COLUMNS:
                    yield rejected_entry(1, "unknown_format", "The first line is not that of IMDb's title.basics.tsv.")
                    return
            elif joined.lines_read + number > after and (entry := _entry(number, line, joined)):
                yield entry._replace(before=joined.lines_read)


def _basics_first(files):
    basics = next((file for file in files if _is_basics(file)), files[0])
    return basics, [file for file in files if file is not basics]


def _is_basics(file):
    first = next(iter_lines(file), None)
    file.seek(0)
    return first is not None and tuple(split_cells(first)) == BASICS_COLUMNS


def _entry(number, line, joined):
    """None for an episode, which comes with its series."""
    if line is None:
        return overlong_line_entry(number)
    found = split_cells(line)
    if len(found) != len(BASICS_COLUMNS):
        return rejected_entry(number, "malformed", f"The line has {len(found)} cells instead of {len(BASICS_COLUMNS)}.")
    row = {name: None if cell == NULL_CELL else cell for name, cell in zip(BASICS_COLUMNS, found, strict=True)}
    name = f"imdb:{row['tconst']}"
    if row["titleType"] == EPISODE_TYPE and joined.has_episode(row["tconst"]):
        return None
    if row["titleType"] not in TITLE_KINDS:
        return rejected_entry(
            number, "not_taken", f"{row['titleType']} is neither a movie nor a series.", "titleType", name
        )
    if row["runtimeMinutes"] and not row["runtimeMinutes"].isdecimal():
        return rejected_entry(number, "wrong_type", "Minutes are a whole number.", "runtimeMinutes", name)
    part = {
        "external_id": name,
        "kind": TITLE_KINDS[row["titleType"]],
        "title": row["primaryTitle"],
        "original_title": row["originalTitle"] if row["originalTitle"] != row["primaryTitle"] else None,
        "year": row["startYear"],
        "runtime_s": int(row["runtimeMinutes"]) * 60 if row["runtimeMinutes"] else None,
        "genres": row["genres"].split(",") if row["genres"] else [],
        "external_ids": {"imdb": row["tconst"]},
    }
    part |= joined.partial_record(row["tconst"], part["kind"], part["title"])
    return FileEntry(number, part={field: value for field, value in part.items() if value}, external_id=name)
