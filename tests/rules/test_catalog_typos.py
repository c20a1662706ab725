"""Words that sound alike."""

import pytest

from streamsvc.rules.catalog.typos import is_similar, sound_key


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
def test_words_that_sound_alike_are_similar(typed, meant):
    assert sound_key(typed) == sound_key(meant) != ""
    assert is_similar(typed, meant)


def test_other_alphabets_and_short_words_have_no_sound_key():
    assert sound_key("москва") == sound_key("amelie2") == sound_key("ada") == ""


def test_words_of_one_sound_with_different_letters_are_not_similar():
    assert sound_key("malone") == sound_key("meoiloniaa") == "mln"
    assert not is_similar("malone", "meoiloniaa")
