"""Schemas of genres, filters, people, collections and the home page."""

from marshmallow import fields, validate

from streamsvc.schemas.base import Choice, Counted, PageQuery, PrefixedId, QueryInt, Slug, StrictSchema, Text, page_of
from streamsvc.schemas.catalog.titles import Artwork, CountryQuery, Locale, LocaleQuery, TitleCard

ROW_KINDS = ("continue", "next_up", "because", "collection", "new", "popular")
MAX_ITEMS = 2_000


class PersonQuery(LocaleQuery):
    limit = QueryInt(
        minimum=1,
        maximum=500,
        load_default=500,
        metadata={"description": "The maximum number of credits to return."},
    )
    cursor = Text(
        max_length=1000, load_default=None, metadata={"description": "The `next_cursor` of the previous page."}
    )


class CollectionQuery(PageQuery, CountryQuery):
    locale = Locale(load_default=None)


class Genre(StrictSchema):
    code = fields.String(required=True)
    name = fields.String(required=True)


class Years(StrictSchema):
    min = fields.Integer(required=True, allow_none=True)
    max = fields.Integer(required=True, allow_none=True)


class Filters(StrictSchema):
    kinds = fields.List(fields.String(), required=True)
    genres = fields.List(fields.Nested(Genre), required=True)
    tags = fields.List(
        fields.Nested(Genre), required=True, metadata={"description": "The 200 with the most titles at most."}
    )
    studios = fields.List(
        fields.Nested(Genre), required=True, metadata={"description": "The 200 with the most titles at most."}
    )
    languages = fields.List(fields.String(), required=True)
    countries = fields.List(fields.String(), required=True)
    years = fields.Nested(Years, required=True)
    sorts = fields.List(fields.String(), required=True)


class PersonCredit(StrictSchema):
    role = fields.String(required=True)
    character = fields.String(required=True, allow_none=True)
    title = fields.Nested(TitleCard, required=True)


class PersonOut(StrictSchema):
    id = PrefixedId("per", required=True)
    name = fields.String(required=True)
    sort_name = fields.String(required=True, allow_none=True)
    born_on = fields.Date(required=True, allow_none=True)
    died_on = fields.Date(required=True, allow_none=True)
    biography = fields.String(required=True, allow_none=True)
    external_ids = fields.Dict(keys=fields.String(), values=fields.String(), required=True)
    artwork = fields.List(fields.Nested(Artwork), required=True)
    credits = fields.List(fields.Nested(PersonCredit), required=True)
    next_cursor = fields.String(required=True, allow_none=True)


class CollectionOut(StrictSchema):
    id = PrefixedId("col", required=True)
    code = fields.String(required=True)
    title = fields.String(required=True)


class CollectionWithTitles(CollectionOut, Counted):
    items = fields.List(fields.Nested(TitleCard), required=True)
    next_cursor = fields.String(required=True, allow_none=True)


Genres = page_of(Genre)
PageOfCollections = page_of(CollectionOut)


class HomeItem(TitleCard):
    """A title; in rows of kind `continue` and `next_up` also the item to resume, its episode and its progress."""

    sometimes_absent = ("item_id", "episode", "progress")
    item_id = PrefixedId("epi", "ttl")
    episode = fields.Dict(allow_none=True)
    progress = fields.Dict(allow_none=True)


class HomeRow(StrictSchema):
    id = fields.String(required=True)
    kind = fields.String(required=True, validate=validate.OneOf(ROW_KINDS))
    title = fields.String(required=True)
    items = fields.List(fields.Nested(HomeItem), required=True)


class Home(StrictSchema):
    items = fields.List(fields.Nested(HomeRow), required=True)
    next_cursor = fields.String(required=True, allow_none=True)


class CollectionIn(StrictSchema):
    title = Text(required=True)
    localizations = fields.Dict(keys=Locale(), values=Text(), load_default=dict)
    items = fields.List(
        Text(),
        required=True,
        validate=validate.Length(max=MAX_ITEMS),
        metadata={"description": "Titles in order, each by its id or external id."},
    )


class CollectionDefinition(CollectionIn):
    """A collection as its operator defined it; its titles by external id."""

    id = PrefixedId("col", required=True)
    code = fields.String(required=True)


class CollectionTitle(StrictSchema):
    external_id = fields.String(required=True)
    title = fields.String(required=True)
    year = fields.Integer(required=True, allow_none=True)


class HomeRowIn(StrictSchema):
    kind = Choice(*ROW_KINDS, required=True)
    collection = Slug(
        load_default=None, metadata={"description": "The code of the collection; only for kind `collection`."}
    )
    title = Text(load_default=None, metadata={"description": "Overrides the default title."})
    localizations = fields.Dict(keys=Locale(), values=Text(), load_default=dict)


class HomeIn(StrictSchema):
    items = fields.List(fields.Nested(HomeRowIn), required=True, validate=validate.Length(max=100))
