"""Schemas of live channels and their programmes."""

from typing import Any

from marshmallow import ValidationError, fields

from streamsvc.schemas.base import Country, Moment, PageQuery, QueryInt, StrictSchema, Text, page_of
from streamsvc.schemas.catalog.titles import (
    AgeRating,
    Availability,
    ChannelReference,
    CountryQuery,
    Ids,
    Locale,
    ProgrammeOut,
)

MAX_GRID_CHANNELS = 50


class ChannelsQuery(PageQuery):
    genre = Text(max_length=64, load_default=None)
    group = Text(max_length=500, load_default=None, metadata={"description": "The channel's group, as it is written."})
    language = Locale(load_default=None)
    country = Country(
        load_default=None,
        metadata={
            "description": "The country of the channel, as `origin_country`. Without a token: the country of the "
            "visitor, unless the service knows it."
        },
    )
    origin_country = Country(load_default=None, metadata={"description": "The country of the channel."})
    locale = Locale(
        load_default=None, metadata={"description": "The language of the programmes. Default: the profile's language."}
    )


class ChannelQuery(CountryQuery):
    locale = Locale(load_default=None)


class TimesQuery(CountryQuery):
    since = Moment(
        data_key="from",
        load_default=None,
        metadata={"description": "Programmes that end after this time. Default: the current hour."},
    )
    until = Moment(
        data_key="to",
        load_default=None,
        metadata={"description": "Programmes that start before this time. Default: 24 hours after `from`."},
    )
    locale = Locale(load_default=None)


class ProgrammesQuery(TimesQuery, PageQuery):
    """At most 31 days."""


class ChannelIds(Ids):
    """Comma-separated ids of channels, without duplicates."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        ids = super()._deserialize(value, attr, data, **kwargs)
        if len(ids) > MAX_GRID_CHANNELS:
            raise ValidationError(f"Must have at most {MAX_GRID_CHANNELS} ids.")
        return ids


class GuideQuery(TimesQuery):
    channel = ChannelIds(
        load_default=None, metadata={"description": "Up to 50 comma-separated ids of channels. Default: all channels."}
    )
    limit = QueryInt(
        minimum=1,
        maximum=MAX_GRID_CHANNELS,
        load_default=24,
        metadata={"description": "The maximum number of channels to return."},
    )
    cursor = Text(
        max_length=1000, load_default=None, metadata={"description": "The `next_cursor` of the previous page."}
    )


class ChannelOut(ChannelReference):
    """A live channel. `now` and `next` are null if nothing is known, or the profile may not see it."""

    group = fields.String(required=True, allow_none=True)
    genres = fields.List(fields.String(), required=True)
    languages = fields.List(fields.String(), required=True)
    countries = fields.List(fields.String(), required=True)
    synopsis = fields.String(required=True, allow_none=True)
    age_rating = fields.Nested(AgeRating, required=True, allow_none=True)
    catchup_hours = fields.Integer(required=True, allow_none=True)
    time_zone = fields.String(required=True, allow_none=True)
    now = fields.Nested(ProgrammeOut, required=True, allow_none=True)
    next = fields.Nested(ProgrammeOut, required=True, allow_none=True)


class ChannelDetail(ChannelOut):
    availability = fields.Nested(Availability, required=True)


class ChannelProgrammes(StrictSchema):
    channel = fields.Nested(ChannelReference, required=True)
    programmes = fields.List(fields.Nested(ProgrammeOut), required=True)


PageOfChannels = page_of(ChannelOut)
PageOfProgrammes = page_of(ProgrammeOut)


class Guide(StrictSchema):
    """A grid: channels in their order, each with its programmes."""

    items = fields.List(fields.Nested(ChannelProgrammes), required=True)
    next_cursor = fields.String(required=True, allow_none=True)
