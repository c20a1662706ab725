"""Channels and programmes as the API shows them."""

from datetime import datetime
from typing import Any

from streamsvc.rules.catalog.channels import ChannelRecord
from streamsvc.rules.catalog.programmes import decode_programme
from streamsvc.rules.catalog.record import Artwork
from streamsvc.rules.maturity import AgeRating, parse_age_rating
from streamsvc.rules.playback.access import AccessDecision
from streamsvc.rules.playback.catchup import available_until
from streamsvc.storage.database import format_utc


def channel_view(channel_id: str, record: ChannelRecord) -> dict:
    """Return what is the same for every viewer of a channel, as in ChannelCard."""
    return channel_reference(channel_id, record) | {
        "group": record.group,
        "genres": record.genres,
        "languages": record.languages,
        "countries": record.countries,
        "synopsis": record.synopsis,
        "age_rating": _rating_view(record.rating),
        "catchup_hours": record.catchup_hours,
        "time_zone": record.time_zone,
    }


def channel_reference(channel_id: str, record: ChannelRecord) -> dict:
    """Return what identifies a channel in a grid."""
    artwork = _artwork_view(record.artwork)
    return {"id": channel_id, "name": record.name, "number": record.number, "artwork": artwork}


def programme_view(channel_id: str, channel: ChannelRecord, row: Any, language: str | None, now: datetime) -> dict:
    """Return a row of `programmes` as in ProgrammeOut, in the closest language available."""
    record = decode_programme(row.body)
    text, until = record.text(language), available_until(row.ends_at, channel.catchup_hours)
    return {
        "id": row.id,
        "channel_id": channel_id,
        "title": text.title,
        "subtitle": text.subtitle or record.subtitle,
        "synopsis": text.synopsis or record.synopsis,
        "starts_at": row.starts_at,
        "ends_at": row.ends_at,
        "genres": record.genres,
        "age_rating": _rating_view(parse_age_rating(record.age_rating) if record.age_rating else None),
        "season": record.season,
        "episode": record.episode,
        "is_repeat": record.is_repeat,
        "artwork": _artwork_view(record.artwork),
        "title_id": row.title_id,
        "catchup": {"available_until": until} if until and until > now else None,
    }


def availability_view(decision: AccessDecision) -> dict:
    """Return an access decision as in Availability."""
    return {
        "playable": decision.playable,
        "reason": decision.reason,
        "starts_at": format_utc(decision.starts_at),
        "ends_at": format_utc(decision.ends_at),
    }


def _rating_view(rating: AgeRating | None) -> dict | None:
    return rating and {"system": rating.system, "label": rating.label, "min_age": rating.min_age}


def _artwork_view(pictures: list[Artwork]) -> list[dict]:
    return [
        {"role": p.role, "url": p.url, "width": p.width, "height": p.height, "language": p.language} for p in pictures
    ]
