"""Hindi names in Latin letters: with the inherent vowels, as people type them."""

import pytest

from streamsvc.rules.catalog.indic import MAX_SPELLINGS, indic_keys, latin_spellings
from streamsvc.rules.catalog.romanization import romanization_keys


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("kabhi", "कभी"), ("dulhania", "दुल्हनिया"), ("zindagi", "ज़िंदगी"), ("zindagi", "ज़िन्दगी"), ("mughal", "मुग़ल"),
        ("mahabharat", "महाभारत"), ("ramayana", "रामायण"), ("veer", "वीर"), ("hum", "हम"), ("kehna", "कहना"),
        ("hain", "हैं"), ("sapno", "सपनों"), ("dabangg", "दबंग"), ("chhichhore", "छिछोरे"),
        ("dangal", "दंगल"), ("lagaan", "लगान"), ("andhadhun", "अंधाधुन"), ("drishyam", "दृश्यम"), ("krrish", "कृष"),
        ("aashiqui", "आशिकी"),
    ],
)  # fmt: skip
def test_a_latin_word_has_the_key_of_the_name(typed, name):
    assert romanization_keys(name) <= set(indic_keys(typed))


@pytest.mark.parametrize(
    ("word", "latin"),
    [
        ("दिलवाले", "dilwale"), ("कभी", "kabhi"), ("खुशी", "khushi"), ("हमसफर", "humsafar"), ("सरफ़रोश", "sarfarosh"),
        ("दुल्हनिया", "dulhania"), ("राजनीति", "rajneeti"), ("कहना", "kehna"), ("अंधाधुन", "andhadhun"),
        ("क़यामत", "qayamat"), ("न", "na"), ("श्री", "shri"),
    ],
)  # fmt: skip
def test_a_word_of_devanagari_is_written_as_usual(word, latin):
    assert latin in latin_spellings(word)


def test_long_words_have_few_spellings_and_other_scripts_none():
    assert 0 < len(latin_spellings("कखगघचछजझटठडढणतथदधनपफबभम" * 4)) <= MAX_SPELLINGS
    every = "".join(map(chr, (*range(0x900, 0x964), *range(0x970, 0x980))))
    assert all(latin.isascii() and latin.isalpha() for letter in every for latin in latin_spellings("क" + letter))
    assert 0 < len(indic_keys("gharanavaniazaneeha" * 5)) <= 200
    assert latin_spellings("Ночной") == latin_spellings("night") == latin_spellings("") == []
