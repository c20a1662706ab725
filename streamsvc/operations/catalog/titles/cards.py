"""A title's JSON: the card that lists contain, and the details that the title's own page adds.

A card contains only what is the same for every viewer, so the main rating; where a country has another one, the reader
replaces it. It is built when the title changes, never when it is read.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from streamsvc.operations.catalog.titles.json_fragments import encode_json, merge_json_objects
from streamsvc.rules.catalog.codes import language_fallbacks
from streamsvc.rules.catalog.record import Artwork, CatalogRecord, Track
from streamsvc.rules.catalog.text import slugify
from streamsvc.rules.maturity import AgeRating


def card_json_by_locale(record: CatalogRecord, title_id: str) -> dict[str, str]:
    """Return the card's JSON by locale; `""` is the title's own language."""
    return {locale: _card_json(record, title_id, locale) for locale in ("", *record.localizations)}


def _card_json(record: CatalogRecord, title_id: str, locale: str) -> str:
    return encode_json(
        {
            "id": title_id,
            "kind": record.kind,
            "title": _localized_text(record, locale, "title"),
            "original_title": record.original_title,
            "year": record.year,
            "runtime_s": record.runtime_s,
            "age_rating": rating_view(record.rating),
            "genres": record.genres,
            "languages": record.languages,
            "countries": record.countries,
            "synopsis": _localized_text(record, locale, "synopsis"),
            "artwork": artwork_view(record.artwork),
            "external_ids": record.external_ids,
        }
    )


def _localized_text(record: CatalogRecord, locale: str, name: str) -> str | None:
    """Return a text in the closest language that has it; each text falls back independently."""
    nearest = [record.localizations[tag] for tag in language_fallbacks(locale) if tag in record.localizations]
    return next((text for texts in (*nearest, record) if (text := getattr(texts, name))), None)


def detail_json(record: CatalogRecord, people: Sequence[Any]) -> str:
    """Return what a title's page adds to its card; `people` (id, picture) are those of the credits, in their order.

    Extras are added when the page is read, since each has rights of its own.
    """
    credits = [
        {"person_id": person.id, "name": credit.name, "role": credit.role, "character": credit.character}
        | ({"picture": msgspec.Raw(person.picture.encode())} if person.picture else {})
        for credit, person in zip(record.credits, people, strict=True)
    ]
    detail = {"credits": credits, "markers": record.markers or {}, "tracks": tracks_view(record.tracks)}
    return encode_json(_labels(record) | detail | ({} if record.extras else {"extras": []}))


def tracks_view(tracks: list[Track]) -> list[dict]:
    """Return tracks as the API shows them."""
    return [{"kind": track.kind, "language": track.language} for track in tracks]


def rating_view(rating: AgeRating | None) -> dict | None:
    """Return an age rating as the API shows it."""
    return rating and rating._asdict()


def _labels(record: CatalogRecord) -> dict[str, Any]:
    """Return the members of a detail that complete_detail adds to older ones."""
    return {
        "tags": record.tags,
        "studios": [{"code": slugify(name), "name": name} for name in record.studios],
        "alternative_titles": [
            {"title": entry.title, "language": entry.language, "country": entry.country, "kind": entry.kind}
            for entry in record.alternative_titles
        ],
        "adult": record.adult,
    }


DETAIL_START = '{"tags":'
LABEL_DEFAULTS = '{"tags":[],"studios":[],"alternative_titles":[],"adult":false}'


def complete_detail(detail: str) -> str:
    """Return a stored detail with the members that details had not when the title was last written, in a past release.

    Titles of that time have none of them.
    """
    return detail if detail.startswith(DETAIL_START) else merge_json_objects(LABEL_DEFAULTS, detail)


def artwork_view(pictures: list[Artwork]) -> list[dict]:
    """Return artwork as the API shows it."""
    return [
        {"role": p.role, "url": p.url, "width": p.width, "height": p.height, "language": p.language} for p in pictures
    ]


def artwork_json(pictures: list[Artwork]) -> str:
    """Return artwork as JSON, as the API shows it."""
    return encode_json(artwork_view(pictures))
