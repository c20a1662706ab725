"""Words that sound alike."""

import pytest

from streamsvc.rules.catalog.typos import alike, sound


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("ghandi", "gandhi"),
        ("twighlight", "twilight"),
        ("jurrasic", "jurassic"),
        ("ralf", "ralph"),
        ("hichcock", "hitchcock"),
        ("mulan", "moulin"),
    ],
)
def test_what_sounds_alike_is_taken_for_one_another(typed, meant):
    assert sound(typed) == sound(meant) != ""
    assert alike(typed, meant)


def test_other_alphabets_and_short_words_have_no_sound():
    assert sound("москва") == sound("amelie2") == sound("ada") == ""


def test_one_sound_is_not_enough_where_the_letters_differ_much():
    assert sound("malone") == sound("meoiloniaa") == "mln"
    assert not alike("malone", "meoiloniaa")
