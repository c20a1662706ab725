"""Exports the catalogue: as the catalogue file, a Roku search feed, a schema.org feed of media actions or Media RSS.

Each exporter yields its text in pieces and reads 500 titles at a time, so memory does not grow with the catalogue.
"""

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

import sqlalchemy as sa

from streamsvc import clock
from streamsvc.models import Channel, Person, Title, TitleRecord
from streamsvc.operations.catalog import media_rss
from streamsvc.operations.catalog.titles.json_fragments import encode_json, json_member, merge_json_objects
from streamsvc.operations.catalog.titles.part_rights import own_rights
from streamsvc.rules.catalog.person import PERSON_KIND
from streamsvc.rules.catalog.record import CatalogRecord, Episode, Window, decode_stored_record
from streamsvc.rules.maturity import age_gate, parse_age_rating
from streamsvc.rules.playback.access import is_adult
from streamsvc.rules.playback.part_rights import NO_RIGHTS
from streamsvc.settings import Settings
from streamsvc.storage.database import fetch_all, format_utc

EXPORT_BATCH_SIZE = 500
EXPORT_PAGE = (
    sa.select(Title.pk, Title.id, Title.added_at, TitleRecord.body)
    .join(TitleRecord, TitleRecord.title_pk == Title.pk)
    .where(Title.pk > sa.bindparam("after"), Title.removed_at.is_(None))
    .order_by(Title.pk)
    .limit(EXPORT_BATCH_SIZE)
)
CHANNELS_PAGE = (
    sa.select(Channel.pk, Channel.body)
    .where(Channel.pk > sa.bindparam("after"), Channel.removed_at.is_(None))
    .order_by(Channel.pk)
    .limit(EXPORT_BATCH_SIZE)
)
PEOPLE_PAGE = (
    sa.select(Person.pk, Person.body)
    .where(Person.pk > sa.bindparam("after"), Person.body.is_not(None))
    .order_by(Person.pk)
    .limit(EXPORT_BATCH_SIZE)
)
PERSON_START = json_member("kind", encode_json(PERSON_KIND))
ROKU_IMAGE_TYPES = {"poster": "main", "backdrop": "background", "keyart": "keyart", "logo": "logo"}
ROKU_CREDIT_ROLES = {"writer": "screenwriter"}
ROKU_RATING_SOURCES = {"US": "MPAA", "GB": "BBFC", "DE": "FSK", "FR": "CNC", "AU": "ACB", "JP": "EIRIN"}
SCHEMA_ORG_TYPES = {"movie": "Movie", "series": "TVSeries"}


def export_records(settings: Settings) -> Iterator[str]:
    """Yield the catalogue file, people, titles and then live channels; importing it again changes nothing."""
    for row in _iter_rows(PEOPLE_PAGE):
        yield merge_json_objects(PERSON_START, row.body) + "\n"
    for row in _iter_rows(EXPORT_PAGE):
        yield row.body + "\n"
    for row in _iter_rows(CHANNELS_PAGE):
        yield merge_json_objects(encode_json({"kind": "channel"}), row.body) + "\n"


def export_roku(settings: Settings) -> Iterator[str]:
    """Yield a Roku search feed, with titles in order of arrival."""
    head = {"version": "1", "defaultLanguage": "en", "defaultAvailabilityCountries": []}
    yield encode_json(head)[:-1] + ',"assets":['
    records = _iter_available_records(settings.adult_in_feeds)
    yield from _json_items(
        chain.from_iterable(_roku_assets(row.id, record, settings.adult_in_feeds) for row, record in records)
    )
    yield "]}"


def export_schema_org(settings: Settings) -> Iterator[str]:
    """Yield a feed of media actions: each title with a WatchAction, and where and when it may be watched."""
    yield '{"@context":["http://schema.org",{"@language":"en"}],"@type":"DataFeed","dataFeedElement":['
    records = _iter_available_records(settings.adult_in_feeds)
    yield from _json_items(_schema_org_title(row.id, record, settings.public_url) for row, record in records)
    yield "]}"


def export_media_rss(settings: Settings) -> Iterator[str]:
    """Yield a Media RSS feed of what visitors may see now in some country, with titles in order of arrival."""
    now = clock.now()
    yield media_rss.feed_start(settings.service_name, settings.public_url)
    for row, record in _iter_available_records(settings.adult_in_feeds):
        windows = media_rss.open_windows(record, now)
        if windows and _is_within_age(record, settings.guest_max_age):
            yield media_rss.feed_item(row.id, row.added_at, record, windows, settings.public_url)
    yield media_rss.FEED_END


EXPORTERS = {
    "ndjson": export_records,
    "roku": export_roku,
    "schema.org": export_schema_org,
    "mrss": export_media_rss,
}
EXPORT_MEDIA_TYPES = {
    "ndjson": "application/x-ndjson",
    "roku": "application/json",
    "schema.org": "application/ld+json",
    "mrss": "application/rss+xml",
}


def _iter_rows(page: sa.Select) -> Iterator[sa.Row]:
    after = 0
    while rows := fetch_all(page, {"after": after}):
        yield from rows
        after = rows[-1].pk


def _iter_available_records(with_adult: bool) -> Iterator[tuple[sa.Row, CatalogRecord]]:
    """Yield rows and records, except of titles in no window or no plan, which a feed would present as watchable.

    And, unless `with_adult`, except of titles that are for adults in some country: feeds are public, and name no
    reader.
    """
    for row in _iter_rows(EXPORT_PAGE):
        record = decode_stored_record(row.body)
        is_for_adults = any(map(is_adult, _min_ages(record)))
        if record.windows != [] and record.plans != [] and (with_adult or not is_for_adults):
            yield row, record


def _min_ages(record: CatalogRecord) -> list[int | None]:
    """Return the title's minimum age, and those of countries with a rating of their own; None: unrated."""
    return [record.min_age, *(rating.min_age for rating in record.ratings_by_country.values())]


def _is_within_age(record: CatalogRecord, max_age: int | None) -> bool:
    """Whether a title is within an age limit in every country; `max_age` None: no limit."""
    return max_age is None or all(age_gate(min_age) <= max_age for min_age in _min_ages(record))


def _json_items(values: Iterable[dict]) -> Iterator[str]:
    for number, value in enumerate(values):
        yield ("," if number else "") + encode_json(_without_empty(value))


def _without_empty(value: Any) -> Any:
    """Return a JSON value without empty members."""
    if isinstance(value, dict):
        return {name: _without_empty(inner) for name, inner in value.items() if inner not in (None, [], {})}
    return [_without_empty(inner) for inner in value] if isinstance(value, list) else value


def _roku_assets(title_id: str, record: CatalogRecord, with_adult: bool) -> Iterator[dict]:
    """Yield the asset of a title, then those of its episodes that are somewhere, in a plan and not for adults."""
    yield {
        "id": record.external_id,
        "type": record.kind,
        "titles": _roku_texts(record, "title"),
        "longDescriptions": _roku_texts(record, "synopsis"),
        "releaseDate": record.year and f"{record.year}-01-01",
        "durationInSeconds": record.runtime_s,
        "genres": record.genres,
        "advisoryRatings": _roku_ratings(record),
        "images": [
            {
                "type": ROKU_IMAGE_TYPES.get(item.role, item.role),
                "url": item.url,
                "languages": [item.language] if item.language else [],
            }
            for item in record.artwork
        ],
        "credits": [
            {"name": item.name, "role": ROKU_CREDIT_ROLES.get(item.role, item.role)} for item in record.credits
        ],
        "externalIds": [{"id": value, "idType": name.upper()} for name, value in record.external_ids.items()],
        "content": {"playOptions": _roku_play_options(title_id, record)},
    }
    for season in record.seasons:
        for episode in season.episodes:
            rights, rating = own_rights(episode, season) or NO_RIGHTS, episode.age_rating or season.age_rating
            if rights.windows == () or rights.plans == frozenset():
                continue
            if rating and not with_adult and is_adult(parse_age_rating(rating).min_age):
                continue
            yield {
                "id": f"{record.external_id}:{season.number}:{episode.number}",
                "type": "episode",
                "titles": _roku_texts(episode, "title")
                or [{"value": f"Episode {episode.number}", "languages": ["en"]}],
                "longDescriptions": _roku_texts(episode, "synopsis"),
                "releaseDate": episode.released_on and episode.released_on.isoformat(),
                "durationInSeconds": episode.runtime_s,
                "episodeInfo": {
                    "seriesId": record.external_id,
                    "seasonNumber": season.number,
                    "episodeNumber": episode.number,
                },
            }


def _roku_texts(record: CatalogRecord | Episode, name: str) -> list[dict]:
    default = [{"value": getattr(record, name), "languages": ["en"]}] if getattr(record, name) else []
    return default + [
        {"value": getattr(localization, name), "languages": [tag]}
        for tag, localization in record.localizations.items()
        if getattr(localization, name) and tag != "en"
    ]


def _roku_ratings(record: CatalogRecord) -> list[dict]:
    return [
        {"source": ROKU_RATING_SOURCES[rating.system], "value": rating.label}
        for rating in record.all_ratings
        if rating.system in ROKU_RATING_SOURCES
    ]


def _roku_play_options(title_id: str, record: CatalogRecord) -> list[dict]:
    """Return a play option per licence window; a title without windows has one for everywhere, always."""
    windows = [None] if record.windows is None else record.windows
    return [
        {
            "license": "subscription",
            "playId": title_id,
            "availabilityStartTime": window and format_utc(window.starts_at),
            "availabilityEndTime": window and format_utc(window.ends_at),
            "availabilityInfo": {"country": window.countries} if window and window.countries else None,
        }
        for window in windows
    ]


def _schema_org_title(title_id: str, record: CatalogRecord, public_url: str) -> dict:
    url = f"{public_url}/titles/{title_id}"
    people = {
        role: [{"@type": "Person", "name": credit.name} for credit in record.credits if credit.role == role]
        for role in ("actor", "director")
    }
    return {
        "@type": SCHEMA_ORG_TYPES[record.kind],
        "@id": url,
        "url": url,
        "name": _schema_org_name(record),
        "description": record.synopsis,
        "datePublished": record.year and str(record.year),
        "duration": record.runtime_s and f"PT{record.runtime_s}S",
        "genre": record.genres,
        "contentRating": _schema_org_ratings(record),
        "inLanguage": record.languages,
        **people,
        "image": [
            {"@type": "ImageObject", "contentUrl": artwork.url, "name": artwork.role} for artwork in record.artwork
        ],
        "identifier": [
            {"@type": "PropertyValue", "propertyID": name.upper(), "value": value}
            for name, value in record.external_ids.items()
        ],
        "potentialAction": {
            "@type": "WatchAction",
            "target": {"@type": "EntryPoint", "urlTemplate": url},
            "actionAccessibilityRequirement": [
                _access_specification(window) for window in ([None] if record.windows is None else record.windows)
            ],
        },
    }


def _schema_org_ratings(record: CatalogRecord) -> str | list[str]:
    texts = [f"{rating.system} {rating.label}" for rating in record.all_ratings]
    return texts[0] if len(texts) == 1 else texts


def _schema_org_name(record: CatalogRecord) -> str | list[dict]:
    localized = [
        {"@language": tag, "@value": localization.title}
        for tag, localization in record.localizations.items()
        if localization.title
    ]
    return [{"@language": "en", "@value": record.title}, *localized] if localized else record.title


def _access_specification(window: Window | None) -> dict:
    return {
        "@type": "ActionAccessSpecification",
        "category": "subscription",
        "availabilityStarts": window and format_utc(window.starts_at),
        "availabilityEnds": window and format_utc(window.ends_at),
        "eligibleRegion": [{"@type": "Country", "name": code} for code in window.countries]
        if window and window.countries
        else "EARTH",
    }
