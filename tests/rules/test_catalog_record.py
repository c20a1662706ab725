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
