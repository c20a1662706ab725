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
from streamsvc.rules.catalog.tokens import fold_for_search
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
def test_titles_and_typed_queries_fold_to_the_same_text(title, typed):
    assert fold_text(title) == fold_text(typed)


@pytest.mark.parametrize("written", ["Spider-Man", "spider man", "SpiderMan", "Spider Man", "spider.man"])
def test_variants_of_spider_man_are_equal_without_spaces(written):
    assert without_spaces(fold_text(written)) == "spiderman"


def test_joined_words_include_wall_e():
    assert without_spaces(fold_text("WALL·E")) == without_spaces(fold_text("wall e")) == "walle"
    assert joined_words(fold_text("x men two")) == ["xmen", "mentwo", "2"]


def test_roman_numerals_are_found_as_digits_except_at_the_start():
    assert "2" in joined_words(fold_text("Rocky II"))
    assert "5" not in joined_words(fold_text("V for Vendetta"))


@pytest.mark.parametrize(
    ("written", "also"), [("Rocky Four", "4"), ("Doctor Zhivago", "dr"), ("St. Vincent", "stvincent"), ("Vol Two", "2")]
)
def test_words_have_alternative_spellings(written, also):
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
def test_numbers_of_several_words_become_digits(written, also):
    assert " ".join(replace_number_words(written.split())) == also


def test_a_leading_article_is_dropped_unless_it_is_the_whole_name():
    assert without_article(fold_text("The Matrix")) == "matrix"
    assert without_article(fold_text("The The")) == "the"
    assert without_article(fold_text("Das")) == "das"


def test_scripts_without_spaces_become_single_characters():
    assert fold_text("東京物語") == "東 京 物 語"
    assert fold_text("기생충") == "기생충"


def test_quotes_and_operators_are_plain_text():
    assert fold_text('"AND" OR NOT (star*)') == "and or not star"


def test_kana_keep_the_marks_that_form_other_letters():
    assert fold_text("ガンダム") != fold_text("カンタム")


def test_a_slug_is_the_code_of_a_genre():
    assert slugify("Science Fiction") == "science-fiction"


@given(st.text(max_size=80))
def test_folding_is_idempotent(text):
    assert fold_text(fold_text(text)) == fold_text(text)


@given(st.text(max_size=80))
def test_folded_text_has_words_separated_by_single_spaces(text):
    folded = fold_text(text)
    assert folded == " ".join(folded.split())
    assert folded == folded.lower() or not folded.isascii()


@pytest.mark.parametrize("typed", ["matrx", "matirx", "mattrix", "matrox", "atrix"])
def test_one_edit_is_corrected(typed):
    assert "matrix" in words_one_edit_away(typed)


def test_two_edits_are_not_corrected():
    assert "matrix" not in words_one_edit_away("matroxx")


def test_short_words_are_not_corrected():
    assert words_one_edit_away("up") == words_one_edit_away("2001") == set()
    assert "seven" in words_one_edit_away("se7en")


def test_edits_in_other_alphabets_are_corrected():
    assert "москва" in words_one_edit_away("масква")
    assert "שלומ" in words_one_edit_away("שלופ")
    assert "تايتانيك" in words_one_edit_away("تيتانيك")


@pytest.mark.parametrize("typed", ["메트릭스", "매트리스", "매틀릭스"])
def test_one_letter_of_a_korean_syllable_is_corrected(typed):
    assert fold_for_search("매트릭스") in words_one_edit_away(fold_for_search(typed))
