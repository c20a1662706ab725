"""Looks addresses up in a local database in MaxMind's format, with the extra `geography`. No other host is called."""

import ipaddress
import logging
from functools import cache
from typing import Any

from streamsvc.rules.catalog.codes import COUNTRIES
from streamsvc.rules.geography import Place

MAX_CITY_LENGTH = 100
UNKNOWN = Place()
log = logging.getLogger("streamsvc.geography")


@cache
def _open_database(path: str) -> Any:
    import maxminddb

    return maxminddb.open_database(path)


def find_place(path: str, address: str | None) -> Place:
    """Find the place of an address; what the database does not say, or says in another form, is unknown."""
    try:
        record = _open_database(path).get(ipaddress.ip_address(address or ""))
    except ValueError:  # not an address, or IPv6 in a database of IPv4 alone
        return UNKNOWN
    except Exception as error:
        log.warning("the geographic database cannot be read: %s", error)
        return UNKNOWN
    if not isinstance(record, dict):
        return UNKNOWN
    country, location = _member(record, "country", "iso_code"), record.get("location")
    city = _member(record, "city", "names", "en")
    latitude, longitude = (_number(location, name) for name in ("latitude", "longitude"))
    if latitude is None or longitude is None or abs(latitude) > 90 or abs(longitude) > 180:
        latitude = longitude = None
    return Place(
        country if country in COUNTRIES else None,
        city if isinstance(city, str) and 0 < len(city) <= MAX_CITY_LENGTH and city.isprintable() else None,
        latitude,
        longitude,
        _number(location, "accuracy_radius") or 0.0,
    )


def _member(record: Any, *names: str) -> Any:
    for name in names:
        record = record.get(name) if isinstance(record, dict) else None
    return record


def _number(record: Any, name: str) -> float | None:
    value = _member(record, name)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
