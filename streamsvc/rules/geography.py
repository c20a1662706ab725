"""Where addresses are, roughly, and whether a person can have travelled between two places."""

import math
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

EARTH_RADIUS_KM = 6_371.0
MIN_DISTANCE_KM = 200.0
"""Databases of addresses are often wrong by this much, and a phone's network ends in another city."""


@dataclass(frozen=True)
class Place:
    """What a database says about an address; None is unknown. Coordinates are degrees."""

    country: str | None = None
    city: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    radius_km: float = 0.0
    """The address is probably within this distance of the coordinates."""


class Origin(NamedTuple):
    """Where a request comes from, as far as access depends on it.

    `country`: "" if unknown; None if neither a proxy nor a database reports one. `is_refused`: the address hides where
    the viewer is, and the settings refuse such addresses.
    """

    country: str | None = None
    is_refused: bool = False


def distance_km(latitude: float, longitude: float, other_latitude: float, other_longitude: float) -> float:
    """Return the great-circle distance of two points, by the haversine formula."""
    first, second = math.radians(latitude), math.radians(other_latitude)
    turn = math.radians(other_longitude - longitude)
    half = math.sin((second - first) / 2) ** 2 + math.cos(first) * math.cos(second) * math.sin(turn / 2) ** 2
    return 2 * EARTH_RADIUS_KM * math.asin(min(1.0, math.sqrt(half)))


def is_impossible_travel(distance: float, radius_km: float, elapsed: timedelta, max_kmh: int) -> bool:
    """Whether `distance` km, less the uncertainty of both ends, takes more than `max_kmh`; 0 turns the check off."""
    certain_km = distance - radius_km
    return bool(max_kmh) and certain_km > MIN_DISTANCE_KM and certain_km > max_kmh * abs(elapsed.total_seconds()) / 3600
