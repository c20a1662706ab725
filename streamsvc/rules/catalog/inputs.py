"""Inputs of the catalog, as loaded by their schemas. A test compares each input with the schema that loads it."""

from datetime import datetime
from typing import Literal, TypedDict

from streamsvc.rules.inputs import PageInput, ShortListInput


class TitlesInput(PageInput):
    """The filters and the sort order of a list of titles."""

    kind: Literal["movie", "series"] | None
    genre: str | None
    tag: str | None
    studio: str | None
    language: str | None
    country: str | None
    person: str | None
    collection: str | None
    ids: list[str] | None
    sort: Literal["-added", "added", "title", "-title", "year", "-year", "-popularity"]
    locale: str | None
    year_gte: int | None
    year_lte: int | None
    runtime_lte: int | None
    age_lte: int | None


class SearchInput(PageInput):
    """The words to search for."""

    q: str
    locale: str | None


class SuggestionsInput(TypedDict):
    """The partially typed words to complete."""

    q: str
    limit: int
    locale: str | None


class AvailabilityInput(TypedDict):
    """The language to respond in, and the country that an operator asks about."""

    locale: str | None
    country: str | None


class TitleInput(AvailabilityInput):
    """What to return of a title."""

    expand: str


class EpisodesInput(ShortListInput, AvailabilityInput):
    """The season whose episodes to list; None lists all."""

    season: int | None


class ChannelsInput(PageInput):
    """The filters of a list of channels."""

    genre: str | None
    group: str | None
    language: str | None
    country: str | None
    locale: str | None


class ChannelInput(TypedDict):
    """In which language to return a channel, and for which country its availability."""

    locale: str | None
    country: str | None


class ProgrammesInput(PageInput):
    """Between which times a channel's programmes are on."""

    since: datetime | None
    until: datetime | None
    locale: str | None


class GuideInput(TypedDict):
    """Between which times programmes are on, and of which channels; None for all."""

    since: datetime | None
    until: datetime | None
    channel: list[str] | None
    locale: str | None
    limit: int
    cursor: str | None


class LocalizedPageInput(PageInput):
    """Which page of a list to return, and in which language."""

    locale: str | None


class PersonPageInput(TypedDict):
    """Which page of a person's credits to return, and in which language."""

    locale: str | None
    limit: int
    cursor: str | None


class PeopleInput(PageInput):
    """The start of the names to list, or an id; None lists everybody."""

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
