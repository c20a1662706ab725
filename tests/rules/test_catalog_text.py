import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamsvc.rules.catalog.text import (
    fold_text,
    joined_words,
    replace_number_words,
    slugify,
    without_article,
    without_spaces,
)
from streamsvc.rules.catalog.typos import words_one_edit_away


@pytest.mark.parametrize(
    ("title", "typed"),
    [
        ("Léon: The Professional", "leon the professional"),
        ("Amélie", "AMELIE"),
        ("Œuvre", "oeuvre"),
        ("Die Straße", "die strasse"),
        ("Ørsted", "orsted"),
        ("Don’t Look Now", "dont look now"),
        ("Don't Look Now", "Don’t look now"),
        ("Fast & Furious", "fast and furious"),
        ("R.E.M.", "rem"),
        ("E.T. the Extra-Terrestrial", "et the extra terrestrial"),
        ("Ｗｉｄｅ", "wide"),
        ("Αθήνα", "αθηνα"),
        ("İstanbul", "istanbul"),
        ("$", "$"),
    ],
)
def test_a_title_and_what_is_typed_for_it_fold_alike(title, typed):
    assert fold_text(title) == fold_text(typed)


@pytest.mark.parametrize("written", ["Spider-Man", "spider man", "SpiderMan", "Spider Man", "spider.man"])
def test_spider_man_is_one_word_when_compact(written):
    assert without_spaces(fold_text(written)) == "spiderman"


def test_wall_e_is_found_joined():
    assert without_spaces(fold_text("WALL·E")) == without_spaces(fold_text("wall e")) == "walle"
    assert joined_words(fold_text("x men two")) == ["xmen", "mentwo", "2"]


def test_roman_numerals_are_found_as_digits_except_at_the_start():
    assert "2" in joined_words(fold_text("Rocky II"))
    assert "5" not in joined_words(fold_text("V for Vendetta"))


@pytest.mark.parametrize(
    ("written", "also"), [("Rocky Four", "4"), ("Doctor Zhivago", "dr"), ("St. Vincent", "stvincent"), ("Vol Two", "2")]
)
def test_words_are_found_in_their_other_readings(written, also):
    assert also in joined_words(fold_text(written))


@pytest.mark.parametrize(
    ("written", "also"),
    [
        ("twenty two jump street", "22 jump street"),
        ("one hundred and one dalmatians", "101 dalmatians"),
        ("hundred twenty seven hours", "127 hours"),
        ("the four hundred blows", "the 400 blows"),
        ("two thousand and one a space odyssey", "2001 a space odyssey"),
        ("pelham one two three", "pelham 123"),
        ("twelve hundred", "1200"),
        ("four and twenty", "four and twenty"),
        ("ten twenty", "ten twenty"),
        ("three ten to yuma", "three ten to yuma"),
        ("seven", "seven"),
        ("hundred and", "hundred and"),
        ("and a hundred", "and a hundred"),
    ],
)
def test_a_number_of_several_words_is_read_as_digits(written, also):
    assert " ".join(replace_number_words(written.split())) == also


def test_an_article_may_be_left_out_but_is_not_all_of_a_name():
    assert without_article(fold_text("The Matrix")) == "matrix"
    assert without_article(fold_text("The The")) == "the"
    assert without_article(fold_text("Das")) == "das"


def test_scripts_without_spaces_become_single_characters():
    assert fold_text("東京物語") == "東 京 物 語"
    assert fold_text("기생충") == "기생충"


def test_quotes_and_operators_are_plain_text():
    assert fold_text('"AND" OR NOT (star*)') == "and or not star"


def test_kana_keep_the_marks_that_make_another_letter():
    assert fold_text("ガンダム") != fold_text("カンタム")


def test_a_slug_names_a_genre_in_an_address():
    assert slugify("Science Fiction") == "science-fiction"


@given(st.text(max_size=80))
def test_folding_twice_changes_nothing_more(text):
    assert fold_text(fold_text(text)) == fold_text(text)


@given(st.text(max_size=80))
def test_folded_text_is_words_and_single_spaces(text):
    folded = fold_text(text)
    assert folded == " ".join(folded.split())
    assert folded == folded.lower() or not folded.isascii()


@pytest.mark.parametrize("typed", ["matrx", "matirx", "mattrix", "matrox", "atrix"])
def test_one_slip_is_undone(typed):
    assert "matrix" in words_one_edit_away(typed)


def test_two_slips_are_not():
    assert "matrix" not in words_one_edit_away("matroxx")


def test_short_words_are_not_guessed():
    assert words_one_edit_away("up") == words_one_edit_away("2001") == set()
    assert "seven" in words_one_edit_away("se7en")


def test_slips_in_other_alphabets_are_undone():
    assert "москва" in words_one_edit_away("масква")
