"""The schema class and the fields that every schema shares. What they let in, both databases can hold."""

import re
import zoneinfo
from datetime import UTC, date, datetime
from functools import cache

from marshmallow import RAISE, Schema, ValidationError, fields, validate

from streamsvc.rules.catalog.codes import COUNTRIES
from streamsvc.rules.refusals.requests import Invalid

MAX_BIGINT = 2**63 - 1
EMAIL_PATTERN = re.compile(
    r"[^\s@<>\"(),:;\[\]\\]{1,64}@(?=.{4,255}$)([^\s@.\-<>][^\s@.<>]{0,62}\.)+[^\s@.\d<>][^\s@.<>]{1,62}"
)


class StrictSchema(Schema):
    """Refuses a field that it does not know, so that a client's typing error is told, not swallowed."""

    class Meta:
        unknown = RAISE


class Text(fields.String):
    """Text without NUL or lone surrogates; stripped unless `strip=False`."""

    def __init__(self, *, max_length: int = 200, min_length: int = 1, strip: bool = True, **kwargs):
        validators = [validate.Length(min_length, max_length), *kwargs.pop("validators", ())]
        super().__init__(validate=validators, **kwargs)
        self.strip = strip

    def _deserialize(self, value, attr, data, **kwargs):
        text = super()._deserialize(value, attr, data, **kwargs)
        if "\x00" in text:
            raise ValidationError("Must not contain NUL.")
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValidationError("Must be well-formed Unicode.") from None
        return text.strip() if self.strip else text


class Choice(Text):
    """One of a few words: `Word("movie", "series")`."""

    def __init__(self, *choices: str, **kwargs):
        super().__init__(max_length=100, validators=[validate.OneOf(choices)], **kwargs)


class Int(fields.Integer):
    """A whole number in JSON: neither text, nor a float, nor true."""

    def __init__(self, *, minimum: int = -MAX_BIGINT, maximum: int = MAX_BIGINT, **kwargs):
        super().__init__(strict=True, validate=validate.Range(minimum, maximum), **kwargs)

    def _validated(self, value):
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.make_error("invalid", input=value)
        return value


class QueryInt(fields.Integer):
    """A whole number in a query string."""

    def __init__(self, *, minimum: int = -MAX_BIGINT, maximum: int = MAX_BIGINT, **kwargs):
        super().__init__(validate=validate.Range(minimum, maximum), **kwargs)

    def _validated(self, value):
        if not isinstance(value, str) or not re.fullmatch(r"-?[0-9]{1,19}", value, re.ASCII):
            raise self.make_error("invalid", input=value)
        return int(value)


class Bool(fields.Boolean):
    """true or false in JSON, nothing that merely looks so."""

    def _deserialize(self, value, attr, data, **kwargs):
        if not isinstance(value, bool):
            raise self.make_error("invalid", input=value)
        return value


class QueryBool(fields.Boolean):
    """`true` or `false` in a query string."""

    truthy = {"true"}
    falsy = {"false"}


class Moment(fields.Field):
    """A point in time, RFC 3339; leaves in UTC with Z."""

    FORM = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)

    def _serialize(self, value, attr, obj, **kwargs):
        return value and value.astimezone(UTC).isoformat().replace("+00:00", "Z")

    def _deserialize(self, value, attr, data, **kwargs):
        try:
            if not self.FORM.fullmatch(value):
                raise ValueError
            at = datetime.fromisoformat(value.upper())
            if not 1900 <= at.year <= 9000:
                raise ValueError
            return at.astimezone(UTC)
        except (TypeError, ValueError, OverflowError):
            raise ValidationError("Must be an RFC 3339 time with a UTC offset, such as 2026-01-31T12:00:00Z.") from None


class Day(fields.Field):
    """A civil date, YYYY-MM-DD."""

    FORM = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)

    def _serialize(self, value, attr, obj, **kwargs):
        return value and value.isoformat()

    def _deserialize(self, value, attr, data, **kwargs):
        try:
            day = date.fromisoformat(value) if self.FORM.fullmatch(value) else date.min
        except (TypeError, ValueError):
            day = date.min
        if not 1900 <= day.year <= 9000:
            raise ValidationError("Must be a date such as 2026-01-31.")
        return day


class MomentOrDay(fields.Field):
    """A point in time, or a civil date: the moment when that day begins for who is asked about."""

    def _deserialize(self, value, attr, data, **kwargs):
        if isinstance(value, str) and Day.FORM.fullmatch(value):
            return Day().deserialize(value)
        return Moment().deserialize(value)


class Email(Text):
    """An address that mail can go to; international ones too."""

    def __init__(self, **kwargs):
        super().__init__(max_length=320, min_length=3, **kwargs)

    def _deserialize(self, value, attr, data, **kwargs):
        email = super()._deserialize(value, attr, data, **kwargs)
        if not EMAIL_PATTERN.fullmatch(email):
            raise ValidationError("Must be a valid email address.")
        return email


class Pattern(Text):
    """Text that follows a regular expression; `hint` says which, in words."""

    def __init__(self, pattern: str, hint: str, *, max_length: int = 200, **kwargs):
        super().__init__(max_length=max_length, validators=[validate.Regexp(rf"(?:{pattern})\Z", error=hint)], **kwargs)


class Country(Pattern):
    """ISO 3166-1 alpha-2, of a country that there is."""

    HINT = "Must be an ISO 3166-1 alpha-2 country code such as DE."

    def __init__(self, **kwargs):
        super().__init__("[A-Z]{2}", self.HINT, **kwargs)

    def _deserialize(self, value, attr, data, **kwargs):
        country = super()._deserialize(value, attr, data, **kwargs)
        if country not in COUNTRIES:
            raise ValidationError(self.HINT)
        return country


class Currency(Pattern):
    """ISO 4217."""

    def __init__(self, **kwargs):
        super().__init__("[A-Z]{3}", "Must be an ISO 4217 currency code such as EUR.", **kwargs)


class Language(Pattern):
    """BCP 47."""

    def __init__(self, **kwargs):
        super().__init__(
            "[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}",
            "Must be a BCP 47 language tag such as en or pt-BR.",
            max_length=35,
            **kwargs,
        )


class TimeZone(Text):
    """A zone of the IANA database."""

    def _deserialize(self, value, attr, data, **kwargs):
        name = super()._deserialize(value, attr, data, **kwargs)
        if name not in zoneinfo.available_timezones():
            raise ValidationError("Must be an IANA time zone such as Europe/Berlin.")
        return name


class Slug(Pattern):
    """A name that people choose for a thing: `premium-4k`."""

    def __init__(self, **kwargs):
        super().__init__(
            "[a-z0-9][a-z0-9._-]*",
            "Must start with a–z or 0–9 and contain only a–z, 0–9, dots, dashes and underscores.",
            max_length=64,
            **kwargs,
        )


class PageQuery(StrictSchema):
    """What every list understands."""

    limit = QueryInt(minimum=1, maximum=100, load_default=24)
    cursor = Text(
        max_length=1000, load_default=None, metadata={"description": "The `next_cursor` of the previous page."}
    )
    include_total = QueryBool(load_default=False, metadata={"description": "Also return the total count of the list."})


class ShortListQuery(PageQuery):
    """What a list understands that is short enough to be given whole."""

    limit = QueryInt(
        minimum=1, maximum=100, load_default=None, metadata={"description": "Omit it to get the whole list."}
    )


@cache
def page_of(item_schema: type[Schema]) -> type[Schema]:
    """The schema of one page of items; one of each, since the documentation names them."""
    return StrictSchema.from_dict(
        {
            "items": fields.List(fields.Nested(item_schema), required=True),
            "next_cursor": fields.String(allow_none=True, required=True),
            "total": fields.Integer(),
        },
        name=f"PageOf{item_schema.__name__}",
    )


class Problem(StrictSchema):
    """RFC 9457, with a stable `code` to match on."""

    type = fields.String(required=True)
    title = fields.String(required=True)
    status = fields.Integer(required=True)
    detail = fields.String(required=True)
    code = fields.String(required=True)
    request_id = fields.String(required=True)
    errors = fields.Dict(keys=fields.String(), values=fields.List(fields.String()))

    class Meta:
        unknown = "include"


def parse_path_value(field: fields.Field, name: str, value: str):
    """A part of the path, as its field reads it. Raises Invalid, naming it."""
    try:
        return field.deserialize(value)
    except ValidationError as error:
        raise Invalid(errors={name: error.messages}) from None
