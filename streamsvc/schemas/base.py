"""The schema base class and the fields that all schemas share.

Every value that a field accepts can be stored in both databases.
"""

import re
from datetime import UTC, date, datetime
from functools import cache
from typing import Any, ClassVar, get_args

from marshmallow import RAISE, Schema, ValidationError, fields, validate

from streamsvc.rules.catalog.codes import COUNTRIES, TIME_ZONES
from streamsvc.rules.inputs import TotalRelation
from streamsvc.rules.names import find_forbidden_character
from streamsvc.rules.refusals.requests import Invalid

MAX_BIGINT = 2**63 - 1
MAX_CURSOR_LENGTH = 3000
"""Enough for the longest key by which a list is sorted: 500 letters of up to four bytes in UTF-8, in base64."""
DEVICE_KINDS = ("web", "phone", "tablet", "tv", "console", "other")
EMAIL_PATTERN = re.compile(
    r"[^\s@<>\"(),:;\[\]\\]{1,64}@(?=.{4,255}$)([^\s@.\-<>][^\s@.<>]{0,62}\.)+[^\s@.\d<>][^\s@.<>]{1,62}"
)


class StrictSchema(Schema):
    """A schema that rejects unknown fields, so that a client's typo is reported instead of ignored."""

    sometimes_absent: ClassVar[tuple[str, ...]] = ()
    """Fields of a response that are left out when they do not apply; all others are always present."""

    class Meta:
        unknown = RAISE


class Text(fields.String):
    """Text without NUL or lone surrogates. Surrounding whitespace is stripped unless `strip=False`."""

    def __init__(self, *, max_length: int = 200, min_length: int = 1, strip: bool = True, **kwargs: Any):
        validators = [validate.Length(min_length, max_length), *kwargs.pop("validators", ())]
        super().__init__(validate=validators, **kwargs)
        self.strip = strip

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        text = super()._deserialize(value, attr, data, **kwargs)
        if "\x00" in text:
            raise ValidationError("Must not contain NUL.")
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValidationError("Must be well-formed Unicode.") from None
        return text.strip() if self.strip else text


class Choice(Text):
    """Text restricted to fixed values: `Choice("movie", "series")`."""

    def __init__(self, *choices: str, **kwargs: Any):
        super().__init__(max_length=100, validators=[validate.OneOf(choices)], **kwargs)


class PrefixedId(fields.String):
    """An id in a response with one of these prefixes: `PrefixedId("sub")` is `sub_` and 26 characters, see `new_id`."""

    def __init__(self, *prefixes: str, metadata: dict | None = None, **kwargs: Any):
        pattern = f"^({'|'.join(prefixes)})_[0-9a-z]{{26}}$"
        super().__init__(metadata={"pattern": pattern} | (metadata or {}), **kwargs)


class OneOf(fields.String):
    """A response field that has one of these values: `OneOf("open", "paid")`."""

    def __init__(self, *values: str, **kwargs: Any):
        super().__init__(validate=validate.OneOf(values), **kwargs)


class Int(fields.Integer):
    """An integer in JSON. Rejects strings, floats and booleans."""

    def __init__(self, *, minimum: int = -MAX_BIGINT, maximum: int = MAX_BIGINT, **kwargs: Any):
        super().__init__(strict=True, validate=validate.Range(minimum, maximum), **kwargs)

    def _validated(self, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.make_error("invalid", input=value)
        return value


class QueryInt(fields.Integer):
    """An integer in a query string."""

    def __init__(self, *, minimum: int = -MAX_BIGINT, maximum: int = MAX_BIGINT, **kwargs: Any):
        super().__init__(validate=validate.Range(minimum, maximum), **kwargs)

    def _validated(self, value: Any) -> int:
        if not isinstance(value, str) or not re.fullmatch(r"-?[0-9]{1,19}", value, re.ASCII):
            raise self.make_error("invalid", input=value)
        return int(value)


class Bool(fields.Boolean):
    """A boolean in JSON. Rejects numbers and strings."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        if not isinstance(value, bool):
            raise self.make_error("invalid", input=value)
        return value


class QueryBool(fields.Boolean):
    """A boolean in a query string: `true` or `false`."""

    truthy = {"true"}
    falsy = {"false"}


class Moment(fields.Field):
    """A point in time in RFC 3339. Serialized in UTC with `Z`; years 1900 to 9000."""

    FORM = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)

    def _serialize(self, value: Any, attr: Any, obj: Any, **kwargs: Any) -> str | None:
        return value and value.astimezone(UTC).isoformat().replace("+00:00", "Z")

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        try:
            if not self.FORM.fullmatch(value):
                raise ValueError
            moment = datetime.fromisoformat(value.upper())
        except (TypeError, ValueError):
            raise ValidationError("Must be an RFC 3339 time with a UTC offset, such as 2026-01-31T12:00:00Z.") from None
        if not 1900 <= moment.year <= 9000:
            raise ValidationError("Must be between the years 1900 and 9000.")
        return moment.astimezone(UTC)


class Day(fields.Field):
    """A civil date, `YYYY-MM-DD`; years 1900 to 9000."""

    FORM = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)

    def _serialize(self, value: Any, attr: Any, obj: Any, **kwargs: Any) -> str | None:
        return value and value.isoformat()

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        try:
            if not self.FORM.fullmatch(value):
                raise ValueError
            day = date.fromisoformat(value)
        except (TypeError, ValueError):
            raise ValidationError("Must be a date such as 2026-01-31.") from None
        if not 1900 <= day.year <= 9000:
            raise ValidationError("Must be between the years 1900 and 9000.")
        return day


class MomentOrDay(fields.Field):
    """A point in time, or a civil date meaning the start of that day in the account's time zone."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        if isinstance(value, str) and Day.FORM.fullmatch(value):
            return Day().deserialize(value)
        return Moment().deserialize(value)


class Email(Text):
    """An email address, without controls and invisible characters. International addresses are accepted."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=320, min_length=3, **kwargs)

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        email = super()._deserialize(value, attr, data, **kwargs)
        if not EMAIL_PATTERN.fullmatch(email) or find_forbidden_character(email):
            raise ValidationError("Must be a valid email address.")
        return email


class FullMatch(validate.Regexp):
    """Matches the whole text. The expression is anchored as ECMA-262 reads it, since the API description shows it."""

    def __init__(self, pattern: str, error: str):
        super().__init__(f"^(?:{pattern})$", error=error)
        self._text_regex = re.compile(pattern)

    def __call__(self, value: str) -> str:  # type: ignore[override]  # no field with this validator holds bytes
        if self._text_regex.fullmatch(value) is None:  # unlike match, it lets no newline pass at the end
            raise ValidationError(self._format_error(value))
        return value


class Pattern(Text):
    """Text that matches a regular expression as a whole. `hint` is the error message."""

    def __init__(self, pattern: str, hint: str, *, max_length: int = 200, **kwargs: Any):
        super().__init__(max_length=max_length, validators=[FullMatch(pattern, hint)], **kwargs)


class Country(Pattern):
    """An assigned ISO 3166-1 alpha-2 country code."""

    HINT = "Must be an ISO 3166-1 alpha-2 country code such as DE."

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("[A-Z]{2}", self.HINT, **kwargs)

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        country = super()._deserialize(value, attr, data, **kwargs)
        if country not in COUNTRIES:
            raise ValidationError(self.HINT)
        return country


class Currency(Pattern):
    """An ISO 4217 currency code."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("[A-Z]{3}", "Must be an ISO 4217 currency code such as EUR.", **kwargs)


class Language(Pattern):
    """A BCP 47 language tag."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            "[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}",
            "Must be a BCP 47 language tag such as en or pt-BR.",
            max_length=35,
            **kwargs,
        )


class TimeZone(Text):
    """The name of an IANA time zone."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        name = super()._deserialize(value, attr, data, **kwargs)
        if name not in TIME_ZONES:
            raise ValidationError("Must be an IANA time zone such as Europe/Berlin.")
        return name


class Slug(Pattern):
    """A readable identifier that an operator chooses, such as `premium-4k`."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            "[a-z0-9][a-z0-9._-]*",
            "Must start with a–z or 0–9 and contain only a–z, 0–9, dots, dashes and underscores.",
            max_length=64,
            **kwargs,
        )


class PageQuery(StrictSchema):
    """Query parameters of every list."""

    limit = QueryInt(
        minimum=1, maximum=100, load_default=24, metadata={"description": "The maximum number of items to return."}
    )
    cursor = Text(
        max_length=MAX_CURSOR_LENGTH,
        load_default=None,
        metadata={"description": "The `next_cursor` of the previous page."},
    )
    include_total = QueryBool(
        load_default=False,
        metadata={"description": "Also return the total number of items, exact up to 10,000: see `total_relation`."},
    )


class ShortListQuery(PageQuery):
    """Query parameters of a list that is short enough to be returned whole."""

    limit = QueryInt(
        minimum=1,
        maximum=100,
        load_default=None,
        metadata={"description": "The maximum number of items to return. Default: all."},
    )


class Counted(StrictSchema):
    """What a list has with `include_total`."""

    sometimes_absent = ("total", "total_relation")
    total = fields.Integer()
    total_relation = OneOf(
        *get_args(TotalRelation),
        metadata={"description": "`at_least` if `total` is only what was counted before the limit."},
    )


@cache
def page_of(item_schema: type[Schema]) -> type[Schema]:
    """Return the schema of a page of items.

    Cached, because the OpenAPI document needs exactly one class per name.
    """
    members: dict[str, Any] = {
        "items": fields.List(fields.Nested(item_schema), required=True),
        "next_cursor": fields.String(allow_none=True, required=True),
    }
    return Counted.from_dict(members, name=f"PageOf{item_schema.__name__}")


class Problem(StrictSchema):
    """A problem document (RFC 9457) with a stable `code` to match on."""

    type = fields.String(required=True)
    title = fields.String(required=True)
    status = fields.Integer(required=True)
    detail = fields.String(required=True)
    code = fields.String(required=True)
    request_id = fields.String(required=True)
    errors = fields.Dict(keys=fields.String(), values=fields.List(fields.String()))

    class Meta:
        unknown = "include"


def parse_path_value(field: fields.Field, name: str, value: str) -> Any:
    """Deserialize a path parameter with `field`. Raises Invalid with `name` as the field in error."""
    try:
        return field.deserialize(value)
    except ValidationError as error:
        raise Invalid(errors={name: error.messages}) from None
