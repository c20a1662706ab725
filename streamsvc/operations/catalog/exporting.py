"""The catalogue as files: the catalogue file itself, a search feed in Roku's shape, schema.org's for media actions.

Each gives its text piece by piece, some hundred titles read at a time, so that a million need no more memory.
"""

from collections.abc import Iterable, Iterator
from itertools import chain

import sqlalchemy as sa

from streamsvc.models import Title, TitleRecord
from streamsvc.operations.catalog.titles.json_fragments import dumped
from streamsvc.rules.catalog.record import Title as Record
from streamsvc.rules.catalog.record import kept
from streamsvc.storage.database import all_rows, utc_text

AT_ONCE = 500
PAGE = (
    sa.select(Title.pk, Title.id, TitleRecord.body)
    .join(TitleRecord, TitleRecord.title_pk == Title.pk)
    .where(Title.pk > sa.bindparam("after"), Title.removed_at.is_(None))
    .order_by(Title.pk)
    .limit(AT_ONCE)
)
PICTURES = {"poster": "main", "backdrop": "background", "keyart": "keyart", "logo": "logo"}
ROLES = {"writer": "screenwriter"}
RATING_SOURCES = {"US": "MPAA", "GB": "BBFC", "DE": "FSK", "FR": "CNC", "AU": "ACB", "JP": "EIRIN"}
KINDS = {"movie": "Movie", "series": "TVSeries"}


def ndjson(public_url: str = "") -> Iterator[str]:
    """The catalogue file: imported again, it changes nothing."""
    for row in _rows():
        yield row.body + "\n"


def roku(public_url: str = "") -> Iterator[str]:
    """A search feed; titles in the order of their arrival."""
    head = {"version": "1", "defaultLanguage": "en", "defaultAvailabilityCountries": []}
    yield dumped(head)[:-1] + ',"assets":['
    yield from _listed(chain.from_iterable(_roku_assets(name, record) for name, record in _offered()))
    yield "]}"


def schema_org(public_url: str = "") -> Iterator[str]:
    """A media-actions feed: each title with a WatchAction and where and when it may be watched."""
    yield '{"@context":["http://schema.org",{"@language":"en"}],"@type":"DataFeed","dataFeedElement":['
    yield from _listed(_watchable(name, record, public_url) for name, record in _offered())
    yield "]}"


FORMATS = {"ndjson": ndjson, "roku": roku, "schema.org": schema_org}
MEDIA_TYPES = {"ndjson": "application/x-ndjson", "roku": "application/json", "schema.org": "application/ld+json"}


def _rows() -> Iterator[sa.Row]:
    after = 0
    while rows := all_rows(PAGE, {"after": after}):
        yield from rows
        after = rows[-1].pk


def _offered() -> Iterator[tuple[str, Record]]:
    """Titles with their ids, but those that are nowhere or in no plan: a feed would tell that they can be watched."""
    for row in _rows():
        record = kept(row.body)
        if record.windows != [] and record.plans != []:
            yield row.id, record


def _listed(values: Iterable[dict]) -> Iterator[str]:
    for number, value in enumerate(values):
        yield ("," if number else "") + dumped(_said(value))


def _said(value):
    """Without what nobody said."""
    if isinstance(value, dict):
        return {name: _said(inner) for name, inner in value.items() if inner not in (None, [], {})}
    return [_said(inner) for inner in value] if isinstance(value, list) else value


def _roku_assets(title_id, record):
    """The title, then its episodes."""
    yield {
        "id": record.external_id,
        "type": record.kind,
        "titles": _texts(record, "title"),
        "longDescriptions": _texts(record, "synopsis"),
        "releaseDate": record.year and f"{record.year}-01-01",
        "durationInSeconds": record.runtime_s,
        "genres": record.genres,
        "advisoryRatings": _roku_rating(record),
        "images": [
            {
                "type": PICTURES.get(one.role, one.role),
                "url": one.url,
                "languages": [one.language] if one.language else [],
            }
            for one in record.artwork
        ],
        "credits": [{"name": one.name, "role": ROLES.get(one.role, one.role)} for one in record.credits],
        "externalIds": [{"id": value, "idType": name.upper()} for name, value in record.external_ids.items()],
        "content": {"playOptions": _play_options(title_id, record)},
    }
    for season in record.seasons:
        for episode in season.episodes:
            yield {
                "id": f"{record.external_id}:{season.number}:{episode.number}",
                "type": "episode",
                "titles": [{"value": episode.title or f"Episode {episode.number}", "languages": ["en"]}],
                "longDescriptions": [{"value": episode.synopsis, "languages": ["en"]}] if episode.synopsis else [],
                "releaseDate": episode.released_on and episode.released_on.isoformat(),
                "durationInSeconds": episode.runtime_s,
                "episodeInfo": {
                    "seriesId": record.external_id,
                    "seasonNumber": season.number,
                    "episodeNumber": episode.number,
                },
            }


def _texts(record, name):
    own = [{"value": getattr(record, name), "languages": ["en"]}] if getattr(record, name) else []
    return own + [
        {"value": getattr(localization, name), "languages": [tag]}
        for tag, localization in record.localizations.items()
        if getattr(localization, name) and tag != "en"
    ]


def _roku_rating(record):
    rating = record.rating
    if rating is None or rating.system not in RATING_SOURCES:
        return []
    return [{"source": RATING_SOURCES[rating.system], "value": rating.label}]


def _play_options(title_id, record):
    """One for each licence window; a title without windows has one for everywhere and always."""
    windows = [None] if record.windows is None else record.windows
    return [
        {
            "license": "subscription",
            "playId": title_id,
            "availabilityStartTime": window and utc_text(window.starts_at),
            "availabilityEndTime": window and utc_text(window.ends_at),
            "availabilityInfo": {"country": window.countries} if window and window.countries else None,
        }
        for window in windows
    ]


def _watchable(title_id, record, public_url):
    url = f"{public_url}/titles/{title_id}"
    people = {
        role: [{"@type": "Person", "name": c.name} for c in record.credits if c.role == role]
        for role in ("actor", "director")
    }
    return {
        "@type": KINDS[record.kind],
        "@id": url,
        "url": url,
        "name": _named(record),
        "description": record.synopsis,
        "datePublished": record.year and str(record.year),
        "duration": record.runtime_s and f"PT{record.runtime_s}S",
        "genre": record.genres,
        "contentRating": record.age_rating and record.age_rating.replace(":", " "),
        "inLanguage": record.languages,
        **people,
        "image": [{"@type": "ImageObject", "contentUrl": one.url, "name": one.role} for one in record.artwork],
        "identifier": [
            {"@type": "PropertyValue", "propertyID": name.upper(), "value": value}
            for name, value in record.external_ids.items()
        ],
        "potentialAction": {
            "@type": "WatchAction",
            "target": {"@type": "EntryPoint", "urlTemplate": url},
            "actionAccessibilityRequirement": [
                _access(window) for window in ([None] if record.windows is None else record.windows)
            ],
        },
    }


def _named(record):
    others = [
        {"@language": tag, "@value": localization.title}
        for tag, localization in record.localizations.items()
        if localization.title
    ]
    return [{"@language": "en", "@value": record.title}, *others] if others else record.title


def _access(window):
    return {
        "@type": "ActionAccessSpecification",
        "category": "subscription",
        "availabilityStarts": window and utc_text(window.starts_at),
        "availabilityEnds": window and utc_text(window.ends_at),
        "eligibleRegion": [{"@type": "Country", "name": code} for code in window.countries]
        if window and window.countries
        else "EARTH",
    }
