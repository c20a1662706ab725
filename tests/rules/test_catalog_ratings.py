import pytest

from streamsvc.rules.maturity import AGE_RATINGS, RATING_SYSTEMS, UNRATED_AGE_GATE, age_gate, parse_age_rating


@pytest.mark.parametrize(
    ("text", "age"),
    [
        ("US:G", 0), ("US:PG", 10), ("US:PG-13", 13), ("US:R", 17), ("US:NC-17", 18), ("US:TV-MA", 17),
        ("US:TV-14", 14),
        ("GB:PG", 8), ("GB:12A", 12), ("DE:16", 16), ("DE:FSK 12", 12), ("FR:TP", 0), ("BR:L", 0), ("BR:14", 14),
        ("AU:MA15+", 15), ("JP:R18+", 18), ("IN:UA 13+", 13), ("SE:Btl", 0), ("KR:15", 15), ("NL:AL", 0),
    ],
)  # fmt: skip
def test_a_rating_maps_to_its_minimum_age(text, age):
    assert parse_age_rating(text).min_age == age


def test_at_least_twenty_countries_are_known():
    assert len(RATING_SYSTEMS) >= 20
    assert all(0 <= found.min_age <= 21 for found in AGE_RATINGS.values() if found.min_age is not None)


def test_ratings_are_case_insensitive():
    assert parse_age_rating(" us:pg-13 ").text == "US:PG-13"


@pytest.mark.parametrize("unknown", ["US:PG13", "ZZ:18", "R", "", "US:", ":R"])
def test_an_unknown_rating_is_rejected(unknown):
    with pytest.raises(ValueError):
        parse_age_rating(unknown)


def test_not_rated_is_above_every_limit():
    assert parse_age_rating("US:NR").min_age is None
    assert age_gate(None) == UNRATED_AGE_GATE > 21
