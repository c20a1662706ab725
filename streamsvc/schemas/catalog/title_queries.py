"""Query parameters of title lists, search and one title."""

from typing import Any

from marshmallow import ValidationError

from streamsvc.rules.catalog.inputs import PICTURE_HEIGHTS
from streamsvc.rules.catalog.sort_orders import SORT_KEYS, format_sort, parse_sort
from streamsvc.schemas.base import Choice, Country, PageQuery, QueryInt, StrictSchema, Text
from streamsvc.schemas.catalog.titles import (
    HIT_KINDS,
    HIT_SCHEMAS,
    CommaSeparated,
    CountryQuery,
    Ids,
    Locale,
    LocaleQuery,
    TitleCard,
    TitleDetail,
)

MAX_GENRES = 10
_SORT_KEY = f"-?({'|'.join(SORT_KEYS)})"


class Sort(Text):
    """Comma-separated sort keys, without those that can decide nothing."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=100, **kwargs)

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        try:
            return format_sort(parse_sort(super()._deserialize(value, attr, data, **kwargs)))
        except ValueError as error:
            raise ValidationError(str(error)) from None


class Fields(CommaSeparated):
    """Comma-separated names of fields that responses of some schemas always have."""

    def __init__(self, *schemas: type[StrictSchema], **kwargs: Any) -> None:
        names = list(
            dict.fromkeys(
                name for schema in schemas for name in schema._declared_fields if name not in schema.sometimes_absent
            )
        )
        super().__init__(len(names), "fields", names, data_key="fields", load_default=None, **kwargs)


def _describe_fields(what: str) -> dict[str, str]:
    return {
        "description": f"Comma-separated fields of {what}: the response has only these, and `id`. Fields that are "
        "otherwise required are then left out too."
    }


class TitlesQuery(PageQuery):
    kind = Choice("movie", "series", load_default=None)
    genre = Text(max_length=64, load_default=None)
    tag = Text(max_length=64, load_default=None)
    studio = Text(max_length=500, load_default=None, metadata={"description": "A studio's code."})
    language = Locale(load_default=None)
    country = Country(
        load_default=None,
        metadata={
            "description": "The country of production, as `origin_country`. Without a token: the country of the "
            "visitor, unless the service knows it."
        },
    )
    origin_country = Country(load_default=None, metadata={"description": "The country of production."})
    person = Text(max_length=64, load_default=None)
    collection = Text(max_length=64, load_default=None, metadata={"description": "A collection's id or code."})
    ids = Ids(load_default=None, metadata={"description": "Up to 100 comma-separated ids."})
    sort = Sort(
        load_default="-added",
        metadata={
            "pattern": f"^{_SORT_KEY}(,{_SORT_KEY})*$",
            "description": "Comma-separated keys, each at most once: `added`, `title`, `year`, `popularity`. A leading "
            "`-` sorts in descending order. A key sorts the titles that are equal in those before it.",
        },
    )
    locale = Locale(
        load_default=None, metadata={"description": "The language of the titles. Default: the profile's language."}
    )
    year_gte = QueryInt(minimum=0, maximum=9999, data_key="year.gte", load_default=None)
    year_lte = QueryInt(minimum=0, maximum=9999, data_key="year.lte", load_default=None)
    runtime_lte = QueryInt(minimum=0, maximum=10**9, data_key="runtime.lte", load_default=None)
    age_lte = QueryInt(minimum=0, maximum=99, data_key="age.lte", load_default=None)
    selected = Fields(TitleCard, metadata=_describe_fields("the titles"))


class TitleFiltersQuery(StrictSchema):
    """The filters of a search."""

    kind = Choice("movie", "series", load_default=None)
    genre = CommaSeparated(
        MAX_GENRES, "genres", load_default=None, metadata={"description": "Comma-separated codes: any of these genres."}
    )
    genre_not = CommaSeparated(
        MAX_GENRES, "genres", data_key="genre.not", load_default=None,
        metadata={"description": "Comma-separated codes: none of these genres."},
    )  # fmt: skip
    language = Locale(load_default=None, metadata={"description": "The original language."})
    audio = Locale(load_default=None, metadata={"description": "The language of an audio track."})
    subtitle = Locale(load_default=None, metadata={"description": "The language of subtitles or captions."})
    height_gte = Choice(
        *map(str, PICTURE_HEIGHTS), data_key="height.gte", load_default=None,
        metadata={"description": "The least height of the best picture, in lines."},
    )  # fmt: skip
    origin_country = Country(load_default=None, metadata={"description": "The country of production."})
    person = Text(max_length=64, load_default=None)
    collection = Text(max_length=64, load_default=None, metadata={"description": "A collection's id or code."})
    tag = Text(max_length=64, load_default=None)
    studio = Text(max_length=500, load_default=None, metadata={"description": "A studio's code."})
    year_gte = QueryInt(minimum=0, maximum=9999, data_key="year.gte", load_default=None)
    year_lte = QueryInt(minimum=0, maximum=9999, data_key="year.lte", load_default=None)
    runtime_lte = QueryInt(minimum=0, maximum=10**9, data_key="runtime.lte", load_default=None)
    age_lte = QueryInt(minimum=0, maximum=99, data_key="age.lte", load_default=None)


class SearchQuery(PageQuery, TitleFiltersQuery, CountryQuery):
    q = Text(max_length=200, min_length=0, required=True)
    kinds = CommaSeparated(
        len(HIT_KINDS), "kinds", HIT_KINDS, load_default=None,
        metadata={
            "description": "Comma-separated kinds of hits: `title` (the default), `episode`, `collection`, `person`, "
            "`channel`, `programme`."
        },
    )  # fmt: skip
    locale = Locale(load_default=None)
    selected = Fields(*HIT_SCHEMAS, metadata=_describe_fields("the hits"))


class TitleQuery(LocaleQuery):
    expand = Text(
        min_length=0,
        load_default="",
        metadata={"description": "Comma-separated list of `seasons`, `credits` and `similar`."},
    )
    selected = Fields(TitleDetail, metadata=_describe_fields("the title, besides those of `expand`"))
