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
def test_what_sounds_alike_is_taken_for_one_another(typed, meant):
    assert sound_key(typed) == sound_key(meant) != ""
    assert is_similar(typed, meant)


def test_other_alphabets_and_short_words_have_no_sound():
    assert sound_key("москва") == sound_key("amelie2") == sound_key("ada") == ""


def test_one_sound_is_not_enough_where_the_letters_differ_much():
    assert sound_key("malone") == sound_key("meoiloniaa") == "mln"
    assert not is_similar("malone", "meoiloniaa")
