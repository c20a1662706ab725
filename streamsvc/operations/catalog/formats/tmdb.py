"""Titles in the shape of TMDB's API: details of movies and series, pages of lists, and its daily files of ids.

An array, one object per line, or a single object. Details may have `credits`, `alternative_titles`, `release_dates`,
`content_ratings`, `images`, `translations`, `external_ids`, `keywords` and `season/N` appended (`append_to_response`).
"""

import json
from collections.abc import Iterator
from typing import Any, BinaryIO

from streamsvc.operations.catalog.formats import FileEntry, iter_lines, overlong_line_entry, rejected_entry
from streamsvc.operations.catalog.formats.tmdb_fields import collection_names, title_part
from streamsvc.operations.catalog.formats.values import iter_array, iter_values, starts_with_array

SHAPE_ERRORS = (AttributeError, KeyError, TypeError, IndexError, ValueError, OverflowError)
"""What reading a member raises that is of another type than TMDB's."""


def read_tmdb(file: BinaryIO, after: int = 0) -> Iterator[FileEntry]:
    """Yield the entries of a file; the "line" of a title in an array or a page is its number, from one."""
    if _is_line_delimited(file):
        yield from _read_lines(file, after)
        return
    values = iter_array(file) if starts_with_array(file) else iter_values(file)
    number = 0
    try:
        for value in values:
            for item in value["results"] if isinstance(value, dict) and _is_page(value) else [value]:
                number += 1
                if number > after:
                    yield _entry(number, item)
    except (ValueError, RecursionError) as error:
        if number >= after:
            yield rejected_entry(number + 1, "malformed", f"The file is not JSON from here on: {error}.")


def _is_line_delimited(file: BinaryIO) -> bool:
    """Whether the first line is an object by itself, and not a page of a list."""
    line = next(iter_lines(file), None)
    file.seek(0)
    try:
        value = json.loads(line or b"")
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and not _is_page(value)


def _is_page(value: dict) -> bool:
    return isinstance(value.get("results"), list) and "page" in value


def _read_lines(file: BinaryIO, after: int) -> Iterator[FileEntry]:
    for number, line in enumerate(iter_lines(file), 1):
        if number <= after:
            continue
        if line is None:
            yield overlong_line_entry(number)
        elif line.strip():
            try:
                item = json.loads(line)
            except (ValueError, RecursionError) as error:
                yield rejected_entry(number, "malformed", f"The line is not JSON in UTF-8: {str(error)[:200]}")
            else:
                yield _entry(number, item)


def _entry(number: int, item: Any) -> FileEntry:
    if not isinstance(item, dict) or item.get("media_type") == "person" or "known_for_department" in item:
        return rejected_entry(number, "not_taken", "It is neither a movie nor a series.")
    try:
        part = title_part(item)
        collections = collection_names(item)
    except SHAPE_ERRORS as error:
        name = str(item.get("id"))[:100]
        return rejected_entry(number, "malformed", f"It has not the shape of TMDB's titles: {error!r}.", "", name)
    if part is None:
        return rejected_entry(number, "missing", "It has neither a title nor an id.", "id")
    return FileEntry(number, part=part, external_id=part["external_id"], collections=collections)
