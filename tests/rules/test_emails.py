"""Addresses that are the same, and addresses that look the same."""

import pytest

from streamsvc.rules.emails import email_key, imitated_email_key, new_email_error


@pytest.mark.parametrize(
    "variant",
    ["Ann@Example.com", "ａｎｎ@example.com", "ann@ｅxample.com", "ann@EXAMPLE。com", " ann@example.com"],
)
def test_capitals_and_widths_do_not_make_another_address(variant):
    assert email_key(variant) == "ann@example.com"


def test_a_domain_is_the_same_in_unicode_and_in_ascii():
    assert email_key("ann@bücher.example") == email_key("ann@xn--bcher-kva.example") == "ann@xn--bcher-kva.example"
    assert email_key("a.nn+tag@example.com") != email_key("ann@example.com")


@pytest.mark.parametrize(
    "email",
    [
        "роса@example.com",
        "山田@example.jp",
        "山田taro@example.jp",
        "김철수kim@example.kr",
        "müller@example.de",
        "νίκος@example.gr",
        "o'neil@example.ie",
        "x_1+2@example.com",
        "ann@почта.example",
    ],
)
def test_ordinary_addresses_can_be_registered(email):
    assert new_email_error(email) is None


@pytest.mark.parametrize(
    "email",
    [
        "\u0430nn@example.com",  # a Cyrillic letter among Latin ones
        "ann\u03bf@example.com",  # a Greek one
        "\u03bd\u0430@example.com",  # Greek and Cyrillic
        "a\u200bnn@example.com",
        "ann\u202e@example.com",
        "ann\U000e0061@example.com",
        "♥@example.com",
        "ann@a..b\u00fc.example",
    ],
)
def test_look_alike_and_invisible_characters_cannot_be_registered(email):
    assert new_email_error(email)


def test_an_address_of_look_alike_letters_alone_names_the_one_that_it_imitates():
    assert imitated_email_key("роса@example.com") == "poca@example.com"
    assert imitated_email_key("жук@example.com") is None
    assert imitated_email_key("poca@example.com") is None
