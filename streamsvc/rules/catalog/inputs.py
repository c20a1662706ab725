"""Inputs of the catalog, as loaded by their schemas. A test compares each input with the schema that loads it."""

from datetime import datetime
from typing import Literal, TypedDict

from streamsvc.rules.inputs import PageInput, ShortListInput

PICTURE_HEIGHTS = (480, 576, 720, 1080, 1440, 2160, 4320)
"""The heights, in lines, by which titles are filtered."""


class CountryInput(TypedDict):
    """The country that a visitor without a token, or an operator, asks about."""

    country: str | None


class TitlesInput(PageInput):
    """The filters and the sort order of a list of titles; `selected`: the fields to return, None for all."""

    kind: Literal["movie", "series"] | None
    genre: str | None
    tag: str | None
    studio: str | None
    language: str | None
    country: str | None
    origin_country: str | None
    person: str | None
    collection: str | None
    ids: list[str] | None
    sort: str
    locale: str | None
    year_gte: int | None
    year_lte: int | None
    runtime_lte: int | None
    age_lte: int | None
    selected: list[str] | None


class TitleFiltersInput(TypedDict):
    """Conditions of titles; a list of codes stands for any of them."""

    kind: Literal["movie", "series"] | None
    genre: list[str] | None
    genre_not: list[str] | None
    language: str | None
    audio: str | None
    subtitle: str | None
    height_gte: Literal["480", "576", "720", "1080", "1440", "2160", "4320"] | None
    origin_country: str | None
    person: str | None
    collection: str | None
    tag: str | None
    studio: str | None
    year_gte: int | None
    year_lte: int | None
    runtime_lte: int | None
    age_lte: int | None


NO_TITLE_FILTERS: TitleFiltersInput = {
    "kind": None, "genre": None, "genre_not": None, "language": None, "audio": None, "subtitle": None,
    "height_gte": None, "origin_country": None, "person": None, "collection": None, "tag": None, "studio": None,
    "year_gte": None, "year_lte": None, "runtime_lte": None, "age_lte": None,
}  # fmt: skip


class SearchInput(PageInput, TitleFiltersInput, CountryInput):
    """The words to search for, in which kinds of things, and the titles to search in."""

    q: str
    kinds: list[str] | None
    locale: str | None
    selected: list[str] | None


class SuggestionsInput(CountryInput):
    """The partially typed words to complete, and into which kinds of things."""

    q: str
    kinds: list[str] | None
    limit: int
    locale: str | None


class LocaleInput(CountryInput):
    """The language to respond in."""

    locale: str | None


class TitleInput(LocaleInput):
    """What to return of a title."""

    expand: str
    selected: list[str] | None


class SectionInput(ShortListInput, CountryInput):
    """Which page of a title's seasons or of the genres to return."""


class EpisodesInput(ShortListInput, LocaleInput):
    """The season whose episodes to list; None lists all."""

    season: int | None


class ChannelsInput(PageInput):
    """The filters of a list of channels."""

    genre: str | None
    group: str | None
    language: str | None
    country: str | None
    origin_country: str | None
    locale: str | None


class ChannelInput(CountryInput):
    """In which language to return a channel, and for which country its availability."""

    locale: str | None


class ProgrammesInput(PageInput, CountryInput):
    """Between which times a channel's programmes are on."""

    since: datetime | None
    until: datetime | None
    locale: str | None


class GuideInput(CountryInput):
    """Between which times programmes are on, and of which channels; None for all."""

    since: datetime | None
    until: datetime | None
    channel: list[str] | None
    locale: str | None
    limit: int
    cursor: str | None


class LocalizedPageInput(PageInput, CountryInput):
    """Which page of a list to return, and in which language."""

    locale: str | None


class PersonPageInput(LocaleInput):
    """Which page of a person's credits to return, and in which language."""

    limit: int
    cursor: str | None


class PeopleInput(PageInput):
    """The start of the names to list, or an id; None lists everybody."""

    q: str | None


class AdminTitlesInput(PageInput):
    """Part of the names of the titles to list, or an id; None lists all."""

    q: str | None


class PersonMergeInput(TypedDict):
    """The person to merge another into."""

    into: str
    dry_run: bool


class CollectionInput(TypedDict):
    """A collection with its titles in order."""

    title: str
    localizations: dict[str, str]
    items: list[str]
