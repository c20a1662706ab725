"""Converts the rows of a table into partial records, by what its columns are for."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from streamsvc.operations.catalog.formats import FileEntry, FileWarning, rejected_entry
from streamsvc.operations.catalog.formats.columns import CREDIT_ROLES, LIST_TARGETS, Column
from streamsvc.operations.catalog.formats.media_addresses import find_media_kind, is_address, join_address
from streamsvc.rules.catalog import cells as values
from streamsvc.rules.catalog.external_ids import derive_external_id
from streamsvc.rules.catalog.place_names import find_country, find_language

KINDS = {
    "movie": "movie", "film": "movie", "feature": "movie", "feature film": "movie", "tv movie": "movie",
    "tvmovie": "movie", "short": "movie", "short film": "movie", "video": "movie", "tv special": "movie",
    "tvspecial": "movie", "documentary": "movie", "spielfilm": "movie", "pelicula": "movie",
    "series": "series", "tv": "series", "tv series": "series", "tvseries": "series", "tv show": "series",
    "show": "series", "tv mini series": "series", "tvminiseries": "series", "mini series": "series",
    "miniseries": "series", "serie": "series",
}  # fmt: skip
"""The kind that each word for one means; other words are left to the record's own check."""
ID_LIKE_IMDB = "tt"


class RowReader:
    """Reads rows under known columns. `warnings` says what was guessed from the sampled rows."""

    def __init__(self, columns: Sequence[Column], sample: Sequence[Sequence[str]], media_base_url: str | None):
        self.columns = columns
        self.media_base_url = media_base_url
        self.warnings: list[FileWarning] = []
        self.separators: dict[int, str | None] = {}
        self.units: dict[int, tuple[str, str]] = {}
        self.targets = {column.target for column in columns if not column.member}
        for column in columns:
            seen = [
                row[column.position].strip() for row in sample if not _is_empty(row[column.position], column.target)
            ]
            if column.target in (*LIST_TARGETS, "credits"):
                self.separators[column.position] = values.find_list_separator(seen)
            if column.target == "runtime_s":
                self.units[column.position] = self._find_unit(column, seen)
        self._warn_of_defaults()

    def _find_unit(self, column: Column, seen: list[str]) -> tuple[str, str]:
        bare, clock = values.guess_runtime_unit(seen)
        if column.unit:
            return column.unit, clock
        if any(value.replace(".", "").isdigit() for value in seen):
            name = {"min": "minutes", "s": "seconds", "ms": "milliseconds"}[bare]
            self._warn(column.name, "unit_guessed", f"Numbers were read as {name}; map it to runtime_s or runtime_min.")
        if any(value.count(":") == 1 for value in seen):
            self._warn(column.name, "unit_guessed", f"Times were read as {clock}.")
        return bare, clock

    def _warn(self, field: str, code: str, reason: str) -> None:
        self.warnings.append(FileWarning(field, code, reason))

    def _warn_of_defaults(self) -> None:
        if "kind" not in self.targets:
            self._warn("kind", "kind_assumed", "No column says movie or series; new titles become movies.")
        if "external_id" not in self.targets:
            self._warn(
                "external_id",
                "id_derived",
                "No column is the external_id; it is made from another id, or title and year.",
            )

    @cached_property
    def _takes_year_from_title(self) -> bool:
        return "year" not in self.targets

    def entry(self, line: int, cells: Sequence[str]) -> FileEntry:
        """Return the entry of a row, whose cells are as many as the header's."""
        part: dict[str, Any] = {}
        warnings: list[FileWarning] = []
        for column in self.columns:
            if not _is_empty(cells[column.position], column.target):
                self._add_cell(part, column, cells[column.position].strip(), warnings)
        if self._takes_year_from_title and "title" in part:
            part["title"], year = values.split_title_year(part["title"])
            part |= {"year": year} if year else {}
        if "credits" in part:  # in the order in which the documentation names the roles
            part["credits"].sort(key=lambda credit: (*CREDIT_ROLES, credit["role"]).index(credit["role"]))
        external_id = part.get("external_id") or derive_external_id(part)
        if external_id is None:
            return rejected_entry(line, "missing", "The row has neither a title nor an id.", "title")
        part["external_id"] = external_id
        defaults = None if "kind" in self.targets else {"kind": "movie"}
        return FileEntry(line, part=part, external_id=external_id, warnings=tuple(warnings), defaults=defaults)

    def _add_cell(self, part: dict[str, Any], column: Column, cell: str, warnings: list[FileWarning]) -> None:
        match column.target:
            case "title" | "synopsis" if column.member:
                part.setdefault("localizations", {}).setdefault(column.member, {})[column.target] = cell
            case "credits":
                names = values.split_list(cell, self.separators[column.position])
                part.setdefault("credits", []).extend({"name": name, "role": column.member} for name in names)
            case "external_ids":
                part.setdefault("external_ids", {})[column.member] = values.parse_external_id(column.member, cell)
            case "artwork":
                if url := self._address(column, cell, warnings):
                    part.setdefault("artwork", []).append({"role": column.member, "url": url})
            case "media":
                self._add_media(part, column, cell, warnings)
            case "age_rating":
                self._add_age_rating(part, column, cell, warnings)
            case "age_ratings" | "genres" | "languages" | "countries" | "plans":
                items = values.split_list(cell, self.separators[column.position])
                part[column.target] = part.get(column.target, []) + _to_codes(column, items, warnings)
            case target if target not in part:
                self._add_value(part, column, cell, warnings)

    def _add_value(self, part: dict[str, Any], column: Column, cell: str, warnings: list[FileWarning]) -> None:
        """Add a single value. One that cannot be read stays as it is, so that the record's check rejects it."""
        match column.target:
            case "kind":
                part["kind"] = KINDS.get(cell.lower(), KINDS.get(cell.lower().replace("-", " "), cell))
            case "year":
                part["year"] = values.parse_year(cell) or cell
            case "runtime_s":
                runtime_s = values.parse_runtime_s(cell, *self.units[column.position])
                if runtime_s:
                    part["runtime_s"] = runtime_s
                elif values.parse_number(cell) != 0:
                    self._ignore(column, "unknown_duration", "No duration can be read from some cells.", warnings)
            case "popularity":
                number = values.parse_number(cell)
                part["popularity"] = cell if number is None else round(number)
            case "external_id" if cell.startswith(ID_LIKE_IMDB) and cell[2:].isdecimal():
                part["external_id"] = f"imdb:{cell}"
                part.setdefault("external_ids", {}).setdefault("imdb", cell)
            case target:
                part[target] = cell

    def _add_age_rating(self, part: dict[str, Any], column: Column, cell: str, warnings: list[FileWarning]) -> None:
        """Add a rating: the first is the main one, and others count if their columns name a country."""
        rating = values.parse_age_rating(cell, column.member.upper() or None)
        if rating is None and ":" not in cell:
            self._ignore(column, "unknown_rating", "Some ratings are unknown; their titles stay unrated.", warnings)
        elif "age_rating" not in part:
            part["age_rating"] = rating or cell
        elif column.member:
            part.setdefault("age_ratings", []).append(rating or cell)

    def _add_media(self, part: dict[str, Any], column: Column, cell: str, warnings: list[FileWarning]) -> None:
        kind = column.member or find_media_kind(cell)
        if kind is None:
            self._ignore(column, "unknown_media", "Some addresses are of no known kind of media.", warnings)
        elif url := self._address(column, cell, warnings):
            part.setdefault("media", {})[kind] = url

    def _address(self, column: Column, cell: str, warnings: list[FileWarning]) -> str | None:
        if is_address(cell):
            return cell
        if self.media_base_url:
            return join_address(self.media_base_url, cell)
        self._ignore(column, "relative_address", "Relative paths need the address of their folder.", warnings)
        return None

    def _ignore(self, column: Column, code: str, reason: str, warnings: list[FileWarning]) -> None:
        warnings.append(FileWarning(column.name, code, reason))


def _is_empty(cell: str, target: str) -> bool:
    plain = cell.strip()
    return not plain or (target not in ("title", "external_id") and plain.lower() in values.EMPTY_CELLS)


def _to_codes(column: Column, items: list[str], warnings: list[FileWarning]) -> list[str]:
    if column.target == "age_ratings":
        return [values.parse_age_rating(item) or item for item in items]
    if column.target not in ("countries", "languages"):
        return items
    find = find_country if column.target == "countries" else find_language
    codes = [(item, find(item)) for item in items]
    if any(code is None for _, code in codes):
        warnings.append(FileWarning(column.name, "unknown_name", f"Some names of {column.target} are unknown."))
    return list(dict.fromkeys(code for _, code in codes if code))
