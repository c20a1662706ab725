"""Stores the rights that episodes and extras have of their own."""

from collections.abc import Iterable

import msgspec

from streamsvc.models import PartWindow
from streamsvc.models.catalog.visibility import EVERYWHERE
from streamsvc.operations.catalog.titles import bulk
from streamsvc.rules.catalog.record import Episode, Extra, Season
from streamsvc.rules.maturity import age_gate, parse_age_rating
from streamsvc.rules.playback.part_rights import NO_RIGHTS, PartRights

_encoder = msgspec.json.Encoder(order="deterministic")


def own_rights(part: Episode | Extra, season: Season | None = None) -> PartRights | None:
    """Return the rights of an episode, by default its season's, or of an extra; None if all are the title's."""
    rating = part.age_rating or (season and season.age_rating)
    windows = part.windows if part.windows is not None or season is None else season.windows
    plans = None if isinstance(part, Extra) else part.plans
    if plans is None and season is not None:
        plans = season.plans
    rights = PartRights(
        age_gate(parse_age_rating(rating).min_age) if rating else None,
        None if windows is None else tuple(window.facts for window in windows),
        None if plans is None else frozenset(plans),
    )
    return None if rights == NO_RIGHTS else rights


def encode_rights(rights: PartRights | None) -> str | None:
    """Return rights as they are stored."""
    return None if rights is None else _encoder.encode(rights).decode()


def insert_part_windows(parts: Iterable[tuple[int, str, PartRights | None]]) -> None:
    """Insert the windows of parts (title_pk, item, rights) that have none yet."""
    bulk.insert_rows(
        PartWindow,
        ("title_pk", "item", "country", "position", "starts_at", "ends_at"),
        [
            (pk, item, country, position, window.starts_at, window.ends_at)
            for pk, item, rights in parts
            for position, window in enumerate((rights and rights.windows) or ())
            for country in sorted(window.countries or (EVERYWHERE,))
        ],
    )
