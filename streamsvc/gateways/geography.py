"""Looks addresses up in a local database in MaxMind's format, with the extra `geography`. No other host is called."""

import ipaddress
import logging
from functools import cache
from typing import Any

from streamsvc.rules.catalog.codes import COUNTRIES
from streamsvc.rules.geography import Place

MAX_CITY_LENGTH = 100
UNKNOWN = Place()
NOT_READ = object()
HIDING_FLAGS = (
    "is_anonymous",
    "is_anonymous_vpn",
    "is_anonymous_proxy",
    "is_hosting_provider",
    "is_public_proxy",
    "is_residential_proxy",
    "is_tor_exit_node",
)
log = logging.getLogger("streamsvc.geography")


@cache
def _open_database(path: str) -> Any:
    import maxminddb

    return maxminddb.open_database(path)


def find_place(path: str, address: str | None) -> Place:
    """Find the place of an address; what the database does not say, or says in another form, is unknown."""
    record = _find_record(path, address)
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


def is_hidden_network(path: str, address: str | None) -> bool | None:
    """Whether an address is one of a VPN, a proxy, Tor or a hosting provider; None if that cannot be found out.

    `path` is a database such as GeoIP2-Anonymous-IP, which lists only these addresses, with the flags in the record, or
    one that has them in `traits`. https://dev.maxmind.com/geoip/docs/databases/anonymous-ip
    """
    record = _find_record(path, address)
    if record is NOT_READ:
        return None
    flags = [_member(record, *place, flag) for place in ((), ("traits",)) for flag in HIDING_FLAGS]
    return any(flag is True for flag in flags)


def _find_record(path: str, address: str | None) -> Any:
    """Return the record of an address; None if the database has none, NOT_READ if it cannot be read for it."""
    try:
        return _open_database(path).get(ipaddress.ip_address(address or ""))
    except ValueError:  # not an address, or IPv6 in a database of IPv4 alone
        return NOT_READ
    except Exception as error:
        log.warning("the geographic database cannot be read: %s", error)
        return NOT_READ


def _member(record: Any, *names: str) -> Any:
    for name in names:
        record = record.get(name) if isinstance(record, dict) else None
    return record


def _number(record: Any, name: str) -> float | None:
    value = _member(record, name)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
