"""Request and response bodies of legal entities."""

from marshmallow import fields, validate

from streamsvc.rules.billing.number_series import PREFIX_PATTERN
from streamsvc.schemas.base import Country, Email, Moment, Pattern, StrictSchema, Text, TimeZone
from streamsvc.schemas.names import Name


class LegalEntityIn(StrictSchema):
    name = Name(required=True)
    street = Name(load_default=None, allow_none=True)
    postal_code = Text(max_length=20, load_default=None, allow_none=True)
    city = Name(load_default=None, allow_none=True)
    country = Country(required=True)
    vat_id = Text(max_length=20, load_default=None, allow_none=True)
    tax_number = Text(load_default=None, allow_none=True)
    registration = Text(load_default=None, allow_none=True)
    email = Email(load_default=None, allow_none=True)
    phone = Text(max_length=50, load_default=None, allow_none=True)
    tax_exemption = Text(
        load_default=None,
        allow_none=True,
        metadata={"description": "Why the entity charges no tax; printed on its invoices without tax."},
    )
    prefix = Pattern(
        PREFIX_PATTERN,
        "Must be 1 to 10 of A–Z and 0–9 with at least one letter, and not CN.",
        required=True,
        metadata={"description": "Begins its invoice numbers: `FR` makes `FR-2026-000001`."},
    )
    time_zone = TimeZone(load_default="UTC")
    countries = fields.List(
        Country(),
        load_default=list,
        validate=validate.Length(max=300),
        metadata={"description": "The countries that it sells to; all others buy from the seller of the settings."},
    )


class LegalEntityOut(StrictSchema):
    code = fields.String()
    name = fields.String()
    street = fields.String(allow_none=True)
    postal_code = fields.String(allow_none=True)
    city = fields.String(allow_none=True)
    country = fields.String()
    vat_id = fields.String(allow_none=True)
    tax_number = fields.String(allow_none=True)
    registration = fields.String(allow_none=True)
    email = fields.String(allow_none=True)
    phone = fields.String(allow_none=True)
    tax_exemption = fields.String(allow_none=True)
    prefix = fields.String()
    time_zone = fields.String()
    countries = fields.List(fields.String())
    updated_at = Moment()


class LegalEntitiesOut(StrictSchema):
    items = fields.List(fields.Nested(LegalEntityOut))
