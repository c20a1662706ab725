import json

import pytest

from streamsvc.rules.catalog.record import InvalidRecord, convert_record, decode_record, encode_record

FILM = {"external_id": "x:1", "kind": "movie", "title": "A film"}


def errors_of(**more):
    with pytest.raises(InvalidRecord) as refused:
        convert_record(FILM | more)
    return [(error.field, error.code) for error in refused.value.errors]


def test_three_fields_are_sufficient():
    assert json.loads(encode_record(convert_record(FILM))) == FILM


@pytest.mark.parametrize("missing", FILM)
def test_a_record_without_a_required_field_is_invalid(missing):
    with pytest.raises(InvalidRecord) as refused:
        convert_record({name: value for name, value in FILM.items() if name != missing})
    assert refused.value.errors[0][:2] == (missing, "missing")


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ({"genre": "drama"}, ("genre", "unknown_field")),
        ({"kind": "film"}, ("kind", "invalid")),
        ({"year": "1994"}, ("year", "wrong_type")),
        ({"year": 1994.5}, ("year", "wrong_type")),
        ({"year": 1492}, ("year", "out_of_range")),
        ({"year": 10**30}, ("year", "out_of_range")),
        ({"title": ""}, ("title", "out_of_range")),
        ({"title": "a\x00b"}, ("", "control_character")),
        ({"age_rating": "US:PG13"}, ("age_rating", "unknown_rating")),
        ({"languages": ["english"]}, ("languages", "unknown_language")),
        ({"countries": ["QQ"]}, ("countries", "unknown_country")),
        ({"genres": [str(n) for n in range(10_000)]}, ("genres", "out_of_range")),
        ({"windows": [{"starts_at": "yesterday"}]}, ("windows[0].starts_at", "invalid")),
        ({"windows": [{"starts_at": "2026-01-01T00:00:00"}]}, ("windows[0].starts_at", "wrong_type")),
        (
            {"windows": [{"starts_at": "2026-01-02T00:00:00Z", "ends_at": "2026-01-02T01:00:00+01:00"}]},
            ("windows[0].ends_at", "out_of_range"),
        ),
        ({"artwork": [{"role": "poster", "url": "javascript:alert(1)"}]}, ("artwork[0].url", "invalid")),
        ({"seasons": [{"number": 1}]}, ("seasons", "not_allowed")),
        ({"kind": "series", "seasons": [{"number": 1}, {"number": 1}]}, ("seasons", "duplicate")),
    ],
)
def test_an_error_names_its_field_and_a_code(more, error):
    assert error in errors_of(**more)


@pytest.mark.parametrize("line", [b"{", b"\xff\xfe{}", b'{"title": "\\ud800"}', b"[" * 100_000, b"null", b"7"])
def test_a_line_that_is_not_a_record_is_invalid(line):
    with pytest.raises(InvalidRecord):
        decode_record(line)


def test_several_errors_are_reported_together():
    assert len(errors_of(age_rating="R", languages=["x"], countries=["QQ"])) == 3


def test_equal_records_have_one_canonical_form():
    loose = FILM | {"genres": ["Sci-Fi", "sci-fi"], "languages": ["PT-br"], "countries": ["us"], "age_rating": "us:r"}
    loose["windows"] = [{"countries": ["us", "CA"], "starts_at": "2026-01-01T01:00:00+01:00", "ends_at": None}]
    exact = FILM | {"genres": ["sci-fi"], "languages": ["pt-BR"], "countries": ["US"], "age_rating": "US:R"}
    exact["windows"] = [{"countries": ["CA", "US"], "starts_at": "2026-01-01T00:00:00Z"}]
    assert encode_record(convert_record(loose)) == encode_record(convert_record(exact))
    assert json.loads(encode_record(convert_record(exact))) == exact


def test_ratings_of_countries_are_in_order_and_differ_from_the_main_one():
    loose = FILM | {"age_rating": "US:R", "age_ratings": ["gb:15", "DE:16", "us:r", "DE:16"]}
    record = convert_record(loose)
    assert json.loads(encode_record(record)) == FILM | {"age_rating": "US:R", "age_ratings": ["DE:16", "GB:15"]}
    ages = {country: record.facts.min_age_in(country) for country in ("DE", "GB", "US", "FR", None)}
    assert ages == {"DE": 16, "GB": 15, "US": 17, "FR": 17, None: 17}
    assert convert_record(FILM | {"age_ratings": ["DE:16"]}).facts.min_age_in(None) is None
    assert "age_ratings" not in encode_record(convert_record(FILM | {"age_ratings": None}))


@pytest.mark.parametrize(
    "ratings, error",
    [
        ({"age_ratings": ["DE:16", "GB:?"]}, ("age_ratings[1]", "unknown_rating")),
        ({"age_ratings": ["DE:16", "DE:12"]}, ("age_ratings", "duplicate")),
        ({"age_rating": "DE:16", "age_ratings": ["DE:FSK 16"]}, ("age_ratings", "duplicate")),
    ],
)
def test_a_country_has_one_known_rating(ratings, error):
    assert errors_of(**ratings) == [error]


def test_no_windows_and_an_empty_list_differ():
    assert json.loads(encode_record(convert_record(FILM | {"windows": [], "plans": []})))["windows"] == []
    assert "windows" not in json.loads(encode_record(convert_record(FILM | {"windows": None})))
    assert convert_record(FILM | {"windows": []}).facts.windows == ()
    assert convert_record(FILM).facts.windows is None
    assert convert_record(FILM | {"plans": []}).facts.plans == frozenset()


def test_null_equals_an_omitted_field():
    nulls = dict.fromkeys(("genres", "seasons", "credits", "external_ids", "media", "original_title"))
    assert encode_record(convert_record(FILM | nulls)) == encode_record(convert_record(FILM))
    season = {"number": 1, "episodes": [{"number": 1, "artwork": None}]}
    series = FILM | {"kind": "series", "seasons": [season, {"number": 2, "episodes": None}]}
    assert json.loads(encode_record(convert_record(series)))["seasons"][1] == {"number": 2}


def is_valid(**more):
    try:
        convert_record(FILM | more)
    except InvalidRecord as refused:
        assert {error.code for error in refused.errors} == {"out_of_range"}
        return False
    return True


NUMBERS = {
    "popularity": (0, 2**30 - 1, lambda n: {"popularity": n}),
    "year": (1870, 2200, lambda n: {"year": n}),
    "runtime": (1, 10_000_000, lambda n: {"runtime_s": n}),
    "marker": (0, 10_000_000, lambda n: {"markers": {"credits": n}}),
    "fractional marker": (0.0, 10_000_000.0, lambda n: {"markers": {"credits": n}}),
    "width": (1, 100_000, lambda n: {"artwork": [{"role": "poster", "url": "/a", "width": n}]}),
    "season": (0, 100_000, lambda n: {"kind": "series", "seasons": [{"number": n}]}),
}
LENGTHS = {
    "title": (1, 500, lambda n: {"title": "a" * n}),
    "synopsis": (0, 20_000, lambda n: {"synopsis": "a" * n}),
    "external id": (1, 200, lambda n: {"external_id": "a" * n}),
    "role": (1, 64, lambda n: {"credits": [{"name": "Ann", "role": "a" * n}]}),
}


@pytest.mark.parametrize(("least", "most", "field"), NUMBERS.values(), ids=NUMBERS)
def test_the_bounds_of_a_number_are_exact(least, most, field):
    assert is_valid(**field(least)) and is_valid(**field(most))
    assert not is_valid(**field(least - 1)) and not is_valid(**field(most + 1))


@pytest.mark.parametrize(("least", "most", "field"), LENGTHS.values(), ids=LENGTHS)
def test_the_bounds_of_a_texts_length_are_exact(least, most, field):
    assert is_valid(**field(least)) and is_valid(**field(most))
    assert not is_valid(**field(most + 1))
    assert least == 0 or not is_valid(**field(least - 1))


def test_the_years_of_a_window_are_from_1900_to_9000():
    def has_window(starts_at):
        return is_valid(windows=[{"starts_at": starts_at}])

    assert has_window("1900-01-01T00:00:00Z") and has_window("9000-12-31T23:59:59Z")
    assert not has_window("1899-12-31T23:59:59Z") and not has_window("9001-01-01T00:00:00Z")


def test_an_address_has_a_path_and_at_most_2000_characters():
    assert is_valid(media={"hls": "/a"}) and is_valid(media={"hls": "/" + "a" * 1_999})
    assert not is_valid(media={"hls": ""}) and not is_valid(media={"hls": "/" + "a" * 2_000})
    assert errors_of(media={"hls": "/"}) == [("media", "invalid")]
