"""By what a hit was found: one of its names, or another field."""

from collections.abc import Iterable, Sequence

from streamsvc.rules.catalog.text import without_spaces
from streamsvc.rules.catalog.tokens import FIELDS, Name, fold_for_search, name_tokens

OTHER_NAME = "alternative_title"


def is_in_name(words: Sequence[str], name: str | None) -> bool:
    """Whether a name has the words of a query as they are typed, which suffices for nearly every hit by its name."""
    if not name:
        return False
    folded = fold_for_search(name)
    return all(word in folded for word in words) or "".join(words) in without_spaces(folded)


def match_field(words: Sequence[str], names: dict[str, str], tokens: str, corrections: dict[str, list[str]]) -> str:
    """Return the field by which a title was found, from its names by field and its tokens, each between spaces.

    That is the first field that has every word that no name has, else the field of the first such word.
    """
    compact = "".join(words)
    for mark, field in FIELDS.items():
        if f" x{compact}{mark} " in tokens:
            return field
    alternatives = [[word, *corrections.get(word, ())] for word in words]
    outside_names = [spellings for spellings in alternatives if not _is_in_names(spellings, tokens)]
    if not outside_names:
        return _name_field(alternatives, names)
    found = [fields for spellings in outside_names if (fields := _fields(spellings, tokens))]
    if not found:
        return _name_field(alternatives, names)
    common = set.intersection(*map(set, found))
    return next((field for field in found[0] if field in common), found[0][0])


def _name_field(alternatives: list[list[str]], names: dict[str, str]) -> str:
    """Return which of the names has every word in one of its spellings."""
    for field, name in names.items():
        of_name = f" {' '.join(name_tokens(Name(name)))} "
        if all(_is_in_names(spellings, of_name) for spellings in alternatives):
            return field
    return OTHER_NAME


def _is_in_names(spellings: Iterable[str], tokens: str) -> bool:
    return any(f" {kind}{spelling}" in tokens for spelling in spellings for kind in "njck")


def _fields(spellings: Iterable[str], tokens: str) -> list[str]:
    """Return the fields that have a word, in the order of their tokens."""
    fields = []
    for spelling in spellings:
        start = tokens.find(f" p{spelling}")
        while start >= 0:
            end = tokens.index(" ", start + 1)
            fields.append(FIELDS.get(tokens[end - 2 : end], "person"))
            start = tokens.find(f" p{spelling}", end)
    return fields
