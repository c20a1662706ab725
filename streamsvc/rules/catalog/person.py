"""The person record: a line of the catalogue file with `"kind": "person"`, validated and normalized.

As with titles, two records are equal if `encode_person` returns the same text for both.
"""

import unicodedata
from datetime import date
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from streamsvc.rules.catalog.codes import normalize_language_tag
from streamsvc.rules.catalog.record import (
    Artwork,
    Code,
    FieldError,
    Identifier,
    InvalidRecord,
    LongText,
    OrNull,
    ShortText,
    convert_part,
    translate_error,
)

PERSON_KIND = "person"
PICTURE_ROLES = ("profile", "portrait", "photo")
"""The roles of artwork that credits prefer as a person's picture; without any, the first of whatever role counts."""


class PersonLocalization(Struct, omit_defaults=True, forbid_unknown_fields=True, frozen=True):
    name: ShortText | None = None
    biography: LongText | None = None


class PersonRecord(Struct, omit_defaults=True, forbid_unknown_fields=True, frozen=True):
    """What an operator says of a person, who is named by their own identifier."""

    external_id: Identifier
    name: ShortText
    kind: Literal["person"] = "person"
    sort_name: ShortText | None = None
    born_on: date | None = None
    died_on: date | None = None
    biography: LongText | None = None
    artwork: OrNull[Annotated[list[Artwork], Meta(max_length=200)]] = []
    external_ids: OrNull[Annotated[dict[Code, Identifier], Meta(max_length=50)]] = {}
    localizations: OrNull[Annotated[dict[Code, PersonLocalization], Meta(max_length=200)]] = {}

    @property
    def picture(self) -> Artwork | None:
        """The picture that credits show."""
        by_role = {artwork.role: artwork for artwork in reversed(self.artwork)}
        preferred = next((by_role[role] for role in PICTURE_ROLES if role in by_role), None)
        return preferred or (self.artwork[0] if self.artwork else None)


_decoder = msgspec.json.Decoder(PersonRecord)
_encoder = msgspec.json.Encoder(order="deterministic")


def decode_person(line: bytes) -> PersonRecord:
    """Return the normalized record in a line of JSON. Raises InvalidRecord."""
    try:
        return normalize_person(_decoder.decode(line))
    except msgspec.ValidationError as error:
        raise InvalidRecord(translate_error(str(error), PersonRecord)) from None


def convert_person(value: Any) -> PersonRecord:
    """Return the normalized record in a JSON value. Raises InvalidRecord."""
    return normalize_person(convert_part(value, PersonRecord))


def decode_stored_person(text: str) -> PersonRecord:
    """Return the record in text that `encode_person` returned."""
    return _decoder.decode(text)


def encode_person(record: PersonRecord) -> str:
    """Return a record as the canonical JSON in which it is stored, compared and exported."""
    return _encoder.encode(record).decode()


def normalize_person(record: PersonRecord) -> PersonRecord:
    """Return the record without nulls, and with language tags in their usual case. Raises InvalidRecord."""
    errors: list[FieldError] = []
    record = msgspec.structs.replace(
        record,
        name=unicodedata.normalize("NFC", record.name).strip() or record.name,
        artwork=record.artwork or [],
        external_ids=record.external_ids or {},
        localizations=_normalize_localizations(errors, record.localizations or {}),
    )
    if record.born_on and record.died_on and record.died_on < record.born_on:
        errors.append(FieldError("died_on", "out_of_range", "Must not be before born_on."))
    try:
        if "\\u0000" in encode_person(record):
            errors.append(FieldError("", "control_character", "Text must not contain NUL."))
    except UnicodeEncodeError:
        errors.append(FieldError("", "malformed", "Text must be well-formed Unicode."))
    if errors:
        raise InvalidRecord(*errors)
    return record


def _normalize_localizations(
    errors: list[FieldError], localizations: dict[str, PersonLocalization]
) -> dict[str, PersonLocalization]:
    normalized = {}
    for name, localization in localizations.items():
        try:
            normalized[normalize_language_tag(name)] = localization
        except ValueError as error:
            errors.append(FieldError(f"localizations.{name}", "unknown_language", str(error)))
    return normalized
