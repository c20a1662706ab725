"""Schemas of titles, seasons, episodes and search hits."""

from collections.abc import Collection
from typing import Any

from marshmallow import ValidationError, fields, validate

from streamsvc.rules.catalog.codes import normalize_language_tag
from streamsvc.schemas.base import (
    Counted,
    Country,
    Moment,
    OneOf,
    PrefixedId,
    QueryInt,
    ShortListQuery,
    StrictSchema,
    Text,
    page_of,
)

MAX_IDS = 100
HIT_KINDS = ("title", "episode", "collection", "person", "channel", "programme")
SUGGESTED_KINDS = ("title", "channel")
MATCHES = ("exact", "prefix", "words", "fuzzy")
MATCH_FIELDS = (
    "title", "original_title", "alternative_title", "episode", "character", "person", "external_id", "tag", "studio",
    "collection", "channel", "programme",
)  # fmt: skip


class Locale(Text):
    """A BCP 47 language tag, normalized."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        try:
            return normalize_language_tag(super()._deserialize(value, attr, data, **kwargs))
        except ValueError:
            raise ValidationError("Must be a language tag such as en or pt-BR.") from None


class CommaSeparated(Text):
    """Comma-separated values, without duplicates; only those of `choices`, if there are any."""

    def __init__(self, maximum: int, noun: str, choices: Collection[str] = (), **kwargs: Any) -> None:
        super().__init__(max_length=64 * maximum, **kwargs)
        self.maximum, self.noun, self.choices = maximum, noun, choices

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        values = list(dict.fromkeys(filter(None, super()._deserialize(value, attr, data, **kwargs).split(","))))
        if len(values) > self.maximum:
            raise ValidationError(f"Must have at most {self.maximum} {self.noun}.")
        if self.choices and not (values and set(values) <= set(self.choices)):
            raise ValidationError(f"Must be one or more of {', '.join(self.choices)}, separated by commas.")
        return values


class Ids(CommaSeparated):
    """Comma-separated ids, without duplicates."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(MAX_IDS, "ids", **kwargs)


class CountryQuery(StrictSchema):
    country = Country(
        load_default=None,
        metadata={
            "description": "Without a token: the country of the visitor, unless the service knows it. For operators: "
            "the country for which availability is computed. Ignored for viewers."
        },
    )


class SectionQuery(ShortListQuery, CountryQuery):
    """Query parameters of a short list in the catalogue."""


class SuggestionsQuery(CountryQuery):
    q = Text(max_length=200, min_length=0, required=True)
    kinds = CommaSeparated(
        len(SUGGESTED_KINDS), "kinds", SUGGESTED_KINDS, load_default=None,
        metadata={"description": "Comma-separated kinds of suggestions: `title` (the default), `channel`."},
    )  # fmt: skip
    limit = QueryInt(minimum=1, maximum=100, load_default=8)
    locale = Locale(load_default=None)


class LocaleQuery(CountryQuery):
    locale = Locale(
        load_default=None, metadata={"description": "The language of the texts. Default: the profile's language."}
    )


class EpisodesQuery(ShortListQuery, LocaleQuery):
    season = QueryInt(minimum=0, maximum=100_000, load_default=None)


class AgeRating(StrictSchema):
    system = fields.String(required=True)
    label = fields.String(required=True)
    min_age = fields.Integer(required=True, allow_none=True)


class Artwork(StrictSchema):
    role = fields.String(required=True)
    url = fields.String(required=True)
    width = fields.Integer(required=True, allow_none=True)
    height = fields.Integer(required=True, allow_none=True)
    language = fields.String(required=True, allow_none=True)


class TitleCard(StrictSchema):
    """A title in a list, the same for every viewer who may see it."""

    id = PrefixedId("ttl", required=True)
    kind = fields.String(required=True, validate=validate.OneOf(("movie", "series")))
    title = fields.String(required=True)
    original_title = fields.String(required=True, allow_none=True)
    year = fields.Integer(required=True, allow_none=True)
    runtime_s = fields.Integer(required=True, allow_none=True)
    age_rating = fields.Nested(AgeRating, required=True, allow_none=True)
    genres = fields.List(fields.String(), required=True)
    languages = fields.List(fields.String(), required=True)
    countries = fields.List(fields.String(), required=True)
    synopsis = fields.String(required=True, allow_none=True)
    artwork = fields.List(fields.Nested(Artwork), required=True)
    external_ids = fields.Dict(keys=fields.String(), values=fields.String(), required=True)


class TitleCredit(StrictSchema):
    sometimes_absent = ("picture",)
    person_id = PrefixedId("per", required=True)
    name = fields.String(required=True)
    role = fields.String(required=True)
    character = fields.String(required=True, allow_none=True)
    picture = fields.Nested(Artwork, metadata={"description": "Left out if there is no picture of the person."})


class Studio(StrictSchema):
    code = fields.String(required=True)
    name = fields.String(required=True)


class AlternativeTitle(StrictSchema):
    title = fields.String(required=True)
    language = fields.String(required=True, allow_none=True)
    country = fields.String(required=True, allow_none=True)
    kind = fields.String(required=True, allow_none=True)


class Availability(StrictSchema):
    """`reason` is null if the title may be played now, else the error code with which playback would be refused."""

    playable = fields.Boolean(required=True)
    reason = fields.String(required=True, allow_none=True)
    starts_at = fields.DateTime(required=True, allow_none=True)
    ends_at = fields.DateTime(required=True, allow_none=True)


class Track(StrictSchema):
    kind = fields.String(required=True)
    language = fields.String(required=True)


class Extra(StrictSchema):
    """A trailer or bonus material, played like a title by its id."""

    id = PrefixedId("xtr", required=True)
    kind = fields.String(required=True)
    title = fields.String(required=True)
    runtime_s = fields.Integer(required=True, allow_none=True)
    age_rating = fields.Nested(
        AgeRating, required=True, allow_none=True, metadata={"description": "Null: as the title."}
    )
    artwork = fields.List(fields.Nested(Artwork), required=True)
    tracks = fields.List(fields.Nested(Track), required=True)
    availability = fields.Nested(Availability, required=True)


class Episode(StrictSchema):
    id = PrefixedId("epi", required=True)
    title_id = PrefixedId("ttl", required=True)
    season = fields.Integer(required=True)
    number = fields.Integer(required=True)
    title = fields.String(required=True, allow_none=True)
    synopsis = fields.String(required=True, allow_none=True)
    runtime_s = fields.Integer(required=True, allow_none=True)
    released_on = fields.Date(required=True, allow_none=True)
    markers = fields.Dict(keys=fields.String(), values=fields.Float(), required=True)
    artwork = fields.List(fields.Nested(Artwork), required=True)
    age_rating = fields.Nested(
        AgeRating, required=True, allow_none=True, metadata={"description": "Null: as the series."}
    )
    tracks = fields.List(fields.Nested(Track), required=True)
    external_ids = fields.Dict(keys=fields.String(), values=fields.String(), required=True)
    availability = fields.Nested(Availability, required=True)


class EpisodeDetail(Episode):
    """An episode, read by itself."""


class Season(StrictSchema):
    id = PrefixedId("sea", required=True)
    number = fields.Integer(required=True)
    title = fields.String(required=True, allow_none=True)
    synopsis = fields.String(required=True, allow_none=True)
    artwork = fields.List(fields.Nested(Artwork), required=True)
    episode_count = fields.Integer(required=True)


class SeasonWithEpisodes(Season):
    episodes = fields.List(fields.Nested(Episode), required=True)


class TitleDetail(TitleCard):
    sometimes_absent = ("seasons", "similar")
    tags = fields.List(fields.String(), required=True)
    studios = fields.List(fields.Nested(Studio), required=True)
    alternative_titles = fields.List(fields.Nested(AlternativeTitle), required=True)
    adult = fields.Boolean(required=True, metadata={"description": "Hidden from guests and profiles with a limit."})
    credits = fields.List(fields.Nested(TitleCredit), required=True)
    markers = fields.Dict(keys=fields.String(), values=fields.Float(), required=True)
    tracks = fields.List(fields.Nested(Track), required=True)
    extras = fields.List(fields.Nested(Extra), required=True)
    availability = fields.Nested(Availability, required=True)
    seasons = fields.List(fields.Nested(SeasonWithEpisodes), metadata={"description": "Present with `expand=seasons`."})
    similar = fields.List(fields.Nested(TitleCard), metadata={"description": "Present with `expand=similar`."})


class SearchHit(TitleCard):
    match = OneOf(*MATCHES, required=True)
    match_field = OneOf(
        *MATCH_FIELDS, required=True, metadata={"description": "By what the title was found: a name, or another field."}
    )


class TitleReference(StrictSchema):
    id = PrefixedId("ttl", required=True)
    title = fields.String(required=True)


class EpisodeHit(StrictSchema):
    """An episode found, with `kinds=episode`."""

    id = PrefixedId("epi", required=True)
    kind = OneOf("episode", required=True)
    title = fields.String(required=True, allow_none=True)
    series = fields.Nested(TitleReference, required=True)
    season = fields.Integer(required=True)
    number = fields.Integer(required=True)
    match = OneOf(*MATCHES, required=True)
    match_field = OneOf(*MATCH_FIELDS, required=True)


class CollectionHit(StrictSchema):
    """A collection found, with `kinds=collection`."""

    id = PrefixedId("col", required=True)
    kind = OneOf("collection", required=True)
    code = fields.String(required=True)
    title = fields.String(required=True)
    match = OneOf(*MATCHES, required=True)
    match_field = OneOf(*MATCH_FIELDS, required=True)


class PersonHit(StrictSchema):
    """A person found, with `kinds=person`."""

    id = PrefixedId("per", required=True)
    kind = OneOf("person", required=True)
    name = fields.String(required=True)
    match = OneOf(*MATCHES, required=True)
    match_field = OneOf(*MATCH_FIELDS, required=True)


class ChannelReference(StrictSchema):
    id = PrefixedId("chn", required=True)
    name = fields.String(required=True)
    number = fields.String(required=True, allow_none=True)
    artwork = fields.List(fields.Nested(Artwork), required=True)


class ChannelHit(ChannelReference):
    """A channel found, with `kinds=channel`."""

    kind = OneOf("channel", required=True)
    match = OneOf(*MATCHES, required=True)
    match_field = OneOf(*MATCH_FIELDS, required=True)


class Catchup(StrictSchema):
    available_until = Moment(required=True)


class ProgrammeOut(StrictSchema):
    """What a channel broadcasts from `starts_at` to `ends_at`."""

    id = PrefixedId("prg", required=True)
    channel_id = PrefixedId("chn", required=True)
    title = fields.String(required=True)
    subtitle = fields.String(required=True, allow_none=True)
    synopsis = fields.String(required=True, allow_none=True)
    starts_at = Moment(required=True)
    ends_at = Moment(required=True)
    genres = fields.List(fields.String(), required=True)
    age_rating = fields.Nested(AgeRating, required=True, allow_none=True)
    season = fields.Integer(required=True, allow_none=True)
    episode = fields.Integer(required=True, allow_none=True)
    is_repeat = fields.Boolean(required=True)
    artwork = fields.List(fields.Nested(Artwork), required=True)
    title_id = PrefixedId(
        "ttl",
        required=True,
        allow_none=True,
        metadata={"description": "The title of the catalogue that is broadcast, if it is known."},
    )
    catchup = fields.Nested(
        Catchup,
        required=True,
        allow_none=True,
        metadata={"description": "Until when it can be played once it has started; null: it cannot."},
    )


class ProgrammeHit(ProgrammeOut):
    """A programme found, with `kinds=programme`: one that is on, or the next broadcast of one to come."""

    kind = OneOf("programme", required=True)
    channel = fields.Nested(ChannelReference, required=True)
    match = OneOf(*MATCHES, required=True)
    match_field = OneOf(*MATCH_FIELDS, required=True)


HIT_SCHEMAS = (SearchHit, EpisodeHit, CollectionHit, PersonHit, ChannelHit, ProgrammeHit)


class PageOfSearchHit(Counted):
    """A page of a search; by default only of titles."""

    items = fields.List(
        fields.Raw(metadata={"oneOf": [{"$ref": f"#/components/schemas/{schema.__name__}"} for schema in HIT_SCHEMAS]}),
        required=True,
    )
    next_cursor = fields.String(allow_none=True, required=True)


class Suggestion(StrictSchema):
    id = PrefixedId("chn", "ttl", required=True)
    kind = OneOf("movie", "series", "channel", required=True)
    title = fields.String(required=True)
    year = fields.Integer(required=True, allow_none=True)
    match = OneOf(*MATCHES, required=True)
    match_field = OneOf(*MATCH_FIELDS, required=True)


class Suggestions(StrictSchema):
    items = fields.List(fields.Nested(Suggestion), required=True)
    next_cursor = fields.String(
        required=True, allow_none=True, metadata={"description": "Always null; use search for more results."}
    )


Seasons = page_of(Season)
SeasonEpisodes = page_of(Episode)
PageOfTitles = page_of(TitleCard)
