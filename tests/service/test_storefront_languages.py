"""The storefront's languages: every text is translated, with the same placeholders and the language's plurals."""

import json
import re
from functools import cache
from pathlib import Path

import pytest
from babel import Locale

from streamsvc.pages import __file__ as pages_file

STATIC = Path(pages_file).parent / "static"
LANGUAGES = ("de", "es", "ja")
STRING = r'"((?:[^"\\]|\\.)*)"'
MODULES = sorted(STATIC.glob("*.js"))


@cache
def read_source(module):
    """The source of a module, with the first argument of each call on the line of its parenthesis."""
    return re.sub(r"\(\s+", "(", module.read_text())


@cache
def texts_in_pages():
    """{English text: whether it has plural forms}"""
    found = {}
    for module in MODULES:
        source = read_source(module)
        found |= {json.loads(f'"{text}"'): False for text in re.findall(rf"\bt\({STRING}", source)}
        found |= {json.loads(f'"{other}"'): True for _, other in re.findall(rf"\btn\({STRING},\s*{STRING}", source)}
    return found


def translations(language):
    """{English text: translation, or {plural form: translation}}"""
    found = {}
    for line in (STATIC / f"i18n/{language}.js").read_text().splitlines():
        if match := re.fullmatch(rf"  ({STRING}): (.*),", line):
            value = re.sub(r"(\w+): (?=\")", r'"\1": ', match[3]) if match[3].startswith("{") else match[3]
            assert json.loads(match[1]) not in found, match[1]
            found[json.loads(match[1])] = json.loads(value)
    return found


def placeholders(text):
    return sorted(set(re.findall(r"\{(\w+)\}", text)))


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_text_is_translated_and_nothing_else(language):
    assert len(texts_in_pages()) > 400
    assert set(translations(language)) == set(texts_in_pages())


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_translation_has_the_placeholders_and_the_plurals_of_its_text(language):
    forms = Locale(language).plural_form.tags | {"other", "=1"}
    for text, value in translations(language).items():
        assert isinstance(value, dict) == texts_in_pages()[text], text
        if isinstance(value, str):
            assert placeholders(value) == placeholders(text), text
            continue
        assert "other" in value and set(value) <= forms, text
        assert placeholders(value["other"]) == placeholders(text), text
        assert all(set(placeholders(form)) <= set(placeholders(text)) for form in value.values()), text


def test_no_page_says_anything_without_looking_it_up():
    """Texts between quotes that begin like a sentence are arguments of t or tn, but for codes and names."""
    sentence = re.compile(r'(?<!t\()(?<!tn\()"([A-Z][a-z]+ [a-z][^"]*)"')
    found = {
        (module.name, text)
        for module in MODULES
        if module.name != "countries.js"
        for text in sentence.findall(re.sub(rf"\btn\({STRING},\s*{STRING}", "", read_source(module)))
    }
    assert found == set()
