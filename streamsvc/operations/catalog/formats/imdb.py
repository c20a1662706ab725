"""IMDb's `title.basics.tsv`: UTF-8, tabs, a header, `\\N` for null, no quoting. For your own, non-commercial use.

Imports movies and series, with the data of IMDb's other files. Games and other kinds are rejected, and so are episodes
whose series no `title.episode.tsv` names. A title that IMDb does not call adult keeps what is stored.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any, BinaryIO

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
    """Yield the entries of IMDb's files, in any order, recognized by their headers.

    With several files, `title.basics` is read twice, and the lines of the others are counted before its own. Raises
    FileTooLarge if several files together have more than `max_lines` lines.
    """
    file, others = _basics_first([file, *others])
    with closing(ImdbDatabase(max_lines)) as joined:
        if others:
            yield from (entry for entry in joined.load_files(file, others) if entry.overall_line > after)
            file.seek(0)
        for number, line in enumerate(iter_lines(file), 1):
            if number == 1:
                if line is None or tuple(split_cells(line)) != BASICS_COLUMNS:
                    yield rejected_entry(
                        1, "unknown_format", "The first line is not the header of IMDb's title.basics.tsv."
                    )
                    return
            elif joined.lines_read + number > after and (entry := _entry(number, line, joined)):
                yield entry._replace(before=joined.lines_read)


def _basics_first(files: Sequence[BinaryIO]) -> tuple[BinaryIO, list[BinaryIO]]:
    basics = next((file for file in files if _is_basics(file)), files[0])
    return basics, [file for file in files if file is not basics]


def _is_basics(file: BinaryIO) -> bool:
    first = next(iter_lines(file), None)
    file.seek(0)
    return first is not None and tuple(split_cells(first)) == BASICS_COLUMNS


def _entry(number: int, line: bytes | None, joined: ImdbDatabase) -> FileEntry | None:
    """Return the entry of a line; None for an episode, which is part of its series."""
    if line is None:
        return overlong_line_entry(number)
    row_cells = split_cells(line)
    if len(row_cells) != len(BASICS_COLUMNS):
        return rejected_entry(
            number, "malformed", f"The line has {len(row_cells)} cells instead of {len(BASICS_COLUMNS)}."
        )
    row = {name: None if cell == NULL_CELL else cell for name, cell in zip(BASICS_COLUMNS, row_cells, strict=True)}
    name = f"imdb:{row['tconst']}"
    if row["titleType"] == EPISODE_TYPE and joined.has_episode(row["tconst"]):
        return None
    if row["titleType"] not in TITLE_KINDS:
        return rejected_entry(
            number, "not_taken", f"{row['titleType']} is neither a movie nor a series.", "titleType", name
        )
    if row["runtimeMinutes"] and not row["runtimeMinutes"].isdecimal():
        return rejected_entry(number, "wrong_type", "Must be a whole number of minutes.", "runtimeMinutes", name)
    part: dict[str, Any] = {
        "external_id": name,
        "kind": TITLE_KINDS[row["titleType"]],
        "title": row["primaryTitle"],
        "original_title": row["originalTitle"] if row["originalTitle"] != row["primaryTitle"] else None,
        "year": row["startYear"],
        "runtime_s": int(row["runtimeMinutes"]) * 60 if row["runtimeMinutes"] else None,
        "genres": row["genres"].split(",") if row["genres"] else [],
        "external_ids": {"imdb": row["tconst"]},
        "adult": row["isAdult"] == "1",
    }
    part |= joined.partial_record(row["tconst"], part["kind"], part["title"])
    return FileEntry(number, part={field: value for field, value in part.items() if value}, external_id=name)
