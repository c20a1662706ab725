"""Which claims of an identity provider prove a sign-in."""

from datetime import UTC, datetime, timedelta

import pytest

from streamsvc.rules.sign_in import oidc

NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)
LEEWAY = timedelta(minutes=1)
SECOND = timedelta(seconds=1)


def find_invalid(**changed):
    claims = {"iss": "https://idp.example", "aud": "app", "nonce": "n", "sub": "ann"}
    claims |= {"exp": (NOW + timedelta(minutes=5)).timestamp(), "iat": NOW.timestamp()}
    return oidc.find_invalid_claim(claims | changed, "https://idp.example", "app", "n", NOW)


@pytest.mark.parametrize(
    ("claim", "valid", "invalid"),
    [
        ("sub", "x" * 255, "x" * 256),
        ("sub", "x", ""),
        ("exp", (NOW - LEEWAY + SECOND).timestamp(), (NOW - LEEWAY).timestamp()),
        ("iat", (NOW + LEEWAY - SECOND).timestamp(), (NOW + LEEWAY).timestamp()),
        ("aud", ["app"], ["another"]),
        ("iss", "https://idp.example", "https://idp.example/"),
        ("nonce", "n", None),
    ],
)
def test_each_claim_has_its_bounds(claim, valid, invalid):
    assert find_invalid(**{claim: valid}) is None
    assert find_invalid(**{claim: invalid}) == claim


def test_several_audiences_need_the_one_that_was_authorized():
    assert find_invalid(aud=["app", "another"]) == "azp"
    assert find_invalid(aud=["app", "another"], azp="app") is None
    assert find_invalid(azp="another") == "azp"
