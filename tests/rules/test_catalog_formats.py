"""Values in files of other formats: names of countries and languages, durations, age ratings, time zones."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from streamsvc.rules.catalog.cells import MAX_VALUE_LENGTH, parse_age_rating, parse_number, parse_runtime_s
from streamsvc.rules.catalog.place_names import find_country, find_language
from streamsvc.rules.catalog.xmltv import ZONE_HOURS

ZONES = {
    "America/New_York": ("EST", "EDT"),
    "America/Chicago": ("CST", "CDT"),
    "America/Denver": ("MST", "MDT"),
    "America/Los_Angeles": ("PST", "PDT"),
    "Europe/London": ("GMT", "BST"),
    "Europe/Lisbon": ("WET", "WEST"),
    "Europe/Berlin": ("CET", "CEST"),
    "Europe/Athens": ("EET", "EEST"),
}


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("us", "US"),
        ("zz", "ZZ"),
        ("uk", "GB"),
        ("USA", "US"),
        ("deu", "DE"),
        ("xxx", None),
        ("Éu", None),
        (" Vereinigte Staaten ", "US"),
        ("soviet union", "RU"),
        ("Atlantis", None),
    ],
)
def test_a_country_is_found_by_its_code_or_a_name(name, code):
    assert find_country(name) == code


@pytest.mark.parametrize(
    ("name", "tag"),
    [
        ("en", "en"),
        ("eng", "en"),
        ("pt_BR", "pt-BR"),
        ("Englisch", "en"),
        ("mandarin", "zh"),
        ("Klingon of Kronos", None),
        ("qwertz", None),
        ("abcd", None),
        ("tlh", "tlh"),
        ("é", None),
    ],
)
def test_a_language_is_found_by_its_tag_or_a_name(name, tag):
    assert find_language(name) == tag


def test_names_of_time_zones_are_those_of_the_zones():
    for zone, names in ZONES.items():
        for name, month in zip(names, (1, 7), strict=True):
            offset = datetime(2026, month, 1, tzinfo=ZoneInfo(zone)).utcoffset()
            assert ZONE_HOURS[name] * 3600 == offset.total_seconds(), name
    assert {name for name, hours in ZONE_HOURS.items() if not hours} == {"UTC", "UT", "GMT", "Z", "WET"}


def test_a_value_may_be_sixty_characters_long():
    assert parse_age_rating("R".rjust(MAX_VALUE_LENGTH)) == "US:R"
    assert parse_age_rating("R".rjust(MAX_VALUE_LENGTH + 1)) is None
    assert parse_runtime_s("142 min" + " and" * 13 + ".") == 142 * 60
    assert parse_runtime_s("142 min" + " and" * 13 + "..") is None
    assert parse_number("1" * 40) == float("1" * 40)
    assert parse_number("1" * 41) is None
