"""Schemas of people for operators."""

from marshmallow import INCLUDE, Schema, fields

from streamsvc.schemas.base import Bool, PageQuery, PrefixedId, StrictSchema, Text, page_of


class PersonRecordBody(Schema):
    """A JSON object, validated by rules/catalog/person.py."""

    class Meta:
        unknown = INCLUDE


class PeopleQuery(PageQuery):
    q = Text(
        max_length=200,
        load_default=None,
        metadata={"description": "The start of a name, without regard to case and accents; or an id or external id."},
    )


class PersonItem(StrictSchema):
    id = PrefixedId("per", required=True)
    external_id = fields.String(required=True, allow_none=True)
    name = fields.String(required=True)
    has_record = fields.Boolean(required=True)
    titles = fields.Integer(required=True)
    merged_into = PrefixedId("per", required=True, allow_none=True)


class PersonMergeIn(StrictSchema):
    into = Text(max_length=64, required=True, metadata={"description": "The id of the person who stays."})
    dry_run = Bool(load_default=False, metadata={"description": "Only count what would change."})


class PersonMerge(StrictSchema):
    id = PrefixedId("per", required=True)
    merged = PrefixedId("per", required=True)
    titles = fields.Integer(required=True)
    credits = fields.Integer(required=True)
    dry_run = fields.Boolean(required=True)


PageOfPeople = page_of(PersonItem)
