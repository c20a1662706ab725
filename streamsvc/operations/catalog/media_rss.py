"""Titles as items of a Media RSS feed (https://www.rssboard.org/media-rss)."""

import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from email.utils import format_datetime
from xml.sax.saxutils import escape, quoteattr

from streamsvc.rules.catalog.record import CatalogRecord
from streamsvc.rules.maturity import AgeRating
from streamsvc.rules.playback.access import Window
from streamsvc.storage.database import format_utc

NAMESPACES = 'xmlns:media="http://search.yahoo.com/mrss/" xmlns:dcterms="http://purl.org/dc/terms/"'
RATING_SCHEMES = {
    "US": "urn:mpaa",
    "GB": "urn:bbfc",
    "DE": "urn:fsk",
    "FR": "urn:cnc",
    "AU": "urn:acb",
    "JP": "urn:eirin",
}
_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def feed_start(name: str, public_url: str) -> str:
    """Return the feed up to its first item."""
    channel = [("title", name), ("link", public_url), ("description", f"Titles of {name}")]
    start = f'<?xml version="1.0" encoding="UTF-8"?>\n<rss version="2.0" {NAMESPACES}><channel>'
    return start + "".join(_element(tag, text) for tag, text in channel)


FEED_END = "</channel></rss>\n"


def open_windows(record: CatalogRecord, now: datetime) -> list[Window]:
    """Return the windows in which a title is available now; of a title without windows, one for everywhere, always."""
    windows = [Window()] if record.windows is None else [window.facts for window in record.windows]
    return [window for window in windows if window.is_open(now)]


def feed_item(
    title_id: str, added_at: datetime, record: CatalogRecord, windows: Sequence[Window], public_url: str
) -> str:
    """Return the item of a title. `windows`: those that are open, at least one."""
    link = f"{public_url}/titles/{title_id}"
    elements = [
        _element("title", record.title),
        _element("link", link),
        _element("guid", title_id, isPermaLink="false"),
        _element("pubDate", format_datetime(added_at, usegmt=True)),
        *(_element("category", genre) for genre in record.genres),
        *([_element("description", record.synopsis)] if record.synopsis else []),
        *_media_elements(record, link),
        *_availability_elements(windows),
    ]
    return f"<item>{''.join(elements)}</item>"


def _media_elements(record: CatalogRecord, link: str) -> Iterator[str]:
    duration = {"duration": str(record.runtime_s)} if record.runtime_s else {}
    language = {"lang": record.languages[0]} if record.languages else {}
    player = f"<media:player url={quoteattr(link)}/>"
    yield f"<media:content{_attributes({'medium': 'video'} | duration | language)}>{player}</media:content>"
    yield _element("media:title", record.title, type="plain")
    if record.synopsis:
        yield _element("media:description", record.synopsis, type="plain")
    if keywords := [*record.genres, *record.tags]:
        yield _element("media:keywords", ", ".join(keywords))
    for picture in sorted(record.artwork, key=lambda picture: picture.role != "poster"):
        sizes = {"width": picture.width, "height": picture.height}
        yield _element(
            "media:thumbnail", "", url=picture.url, **{name: str(size) for name, size in sizes.items() if size}
        )
    for rating in record.all_ratings:
        if scheme := _rating_scheme(rating):
            yield _element("media:rating", rating.label.lower(), scheme=scheme)
    for credit in record.credits:
        yield _element("media:credit", credit.name, role=credit.role, scheme="urn:ebu")


def _rating_scheme(rating: AgeRating) -> str | None:
    is_television = rating.system == "US" and rating.label.startswith("TV-")
    return "urn:v-chip" if is_television else RATING_SCHEMES.get(rating.system)


def _availability_elements(windows: Sequence[Window]) -> Iterator[str]:
    """Yield the countries in which a title is available, and from when until when it is in any of them."""
    limited = [window.countries for window in windows if window.countries is not None]
    if len(limited) == len(windows):
        countries = " ".join(sorted(frozenset().union(*limited))).lower()
        yield _element("media:restriction", countries, relationship="allow", type="country")
    starts, ends = [window.starts_at for window in windows], [window.ends_at for window in windows]
    times = {
        "start": None if None in starts else min(filter(None, starts)),
        "end": None if None in ends else max(filter(None, ends)),
    }
    if any(times.values()):
        parts = [f"{name}={format_utc(moment)}" for name, moment in times.items() if moment]
        yield _element("dcterms:valid", "; ".join([*parts, "scheme=W3C-DTF"]))


def _element(tag: str, text: str, **attributes: str) -> str:
    return f"<{tag}{_attributes(attributes)}>{escape(_NOT_IN_XML.sub('', text))}</{tag}>"


def _attributes(attributes: dict[str, str]) -> str:
    return "".join(f" {name}={quoteattr(_NOT_IN_XML.sub('', value))}" for name, value in attributes.items())
