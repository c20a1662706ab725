"""The tokens by which a title, an episode, a collection, a person, a channel or a programme is found.

The first letter of a token is its class, so one index without columns and positions is enough:

c   a whole name without spaces
s   a whole name with its words joined by `_`; both also without a leading article
n   a word of a name; with a mark at its end, the end of a compound
j   two words joined, another spelling of a word or a number (`4` for `iv`, `22` for `twenty two`), or the year
k   the first consonants of a Korean name
r   a name of another script in Latin letters (rules/catalog/romanization.py)
p   a word of something else than the name: a person, or, with a mark at its end, another field
x   a whole name of something else, always with a mark: an episode, a character, an external id
"""

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

from streamsvc.rules.catalog.orthography import (
    consonant_skeleton,
    hangul_initials,
    normalize_spelling,
    spellings_without_article,
)
from streamsvc.rules.catalog.record import CatalogRecord
from streamsvc.rules.catalog.romanization import romanization_keys
from streamsvc.rules.catalog.text import fold_text, joined_words, without_article, without_spaces
from streamsvc.rules.maturity import age_gate, parse_age_rating
from streamsvc.rules.playback.access import is_adult

INDEX_VERSION = 5
"""Increment with every change of the tokens or of the titles' sort keys, so that they are rebuilt."""
MAX_TOKEN_LENGTH = 100
MAX_MARKED_LENGTH = MAX_TOKEN_LENGTH - 3  # with a class before it and a mark after it
MAX_EPISODE_TOKENS = 4_000
"""Tokens of a series' episodes; a longer series is found by the names of its first ones."""
COMPOUNDING_LANGUAGES = frozenset("de nl sv da no nb nn fi is hu et".split())
"""Languages that write compounds as one word, of which people type a part."""
MIN_COMPOUND_LENGTH = 9  # letters
MIN_PART_LENGTH = 4  # letters; the first part may have one less
MAX_PARTS = 12
EPISODE, CHARACTER, EXTERNAL_ID, TAG, STUDIO, COMPOUND = "_e", "_h", "_i", "_t", "_s", "_g"
FIELDS = {
    EPISODE: "episode", CHARACTER: "character", EXTERNAL_ID: "external_id", TAG: "tag", STUDIO: "studio",
}  # fmt: skip
"""The `match_field` of a mark; a token of class p without one is a person's."""
_EXTERNAL_ID_SCHEMES = re.compile(r"^\w+:")


class Name(NamedTuple):
    """A name and its language, if that is known."""

    text: str
    language: str | None = None


def fold_for_search(text: str) -> str:
    """Return the words of a name or a query as the index has them, separated by spaces."""
    return normalize_spelling(fold_text(text))


def name_tokens(name: Name, with_joined: bool = True) -> set[str]:
    """Return the tokens of one name; without its joined words unless `with_joined`."""
    folded = fold_for_search(name.text)
    words = folded.split()
    tokens = {"n" + word for word in words}
    for full_name in {folded, without_article(folded)}:
        tokens |= {"c" + without_spaces(full_name), "s" + full_name.replace(" ", "_")}
    if with_joined:
        tokens |= {"j" + joined for joined in joined_words(folded)}
    if not folded.isascii():
        tokens |= _tokens_of_other_scripts(name.text, words)
    if name.language and name.language.split("-")[0] in COMPOUNDING_LANGUAGES:
        tokens |= {"n" + part + COMPOUND for word in words for part in compound_parts(word)}
    return tokens


def _tokens_of_other_scripts(name: str, words: list[str]) -> set[str]:
    tokens = {"r" + key for key in romanization_keys(name)}
    for word in words:
        tokens |= {"j" + spelling for spelling in spellings_without_article(word)}
        tokens |= {
            "r" + skeleton for w in (word, *spellings_without_article(word)) if (skeleton := consonant_skeleton(w))
        }
    initials = [initials for word in words if (initials := hangul_initials(word))]
    return tokens | {"k" + initials for initials in (*initials, "".join(initials)) if initials}


def compound_parts(word: str) -> Iterator[str]:
    """Yield the ends of a long word, among them the parts of a compound: `schiffahrt`, … of `dampfschiffahrt`."""
    if len(word) >= MIN_COMPOUND_LENGTH:
        last = len(word) - MIN_PART_LENGTH + 1
        yield from (word[start:] for start in range(MIN_PART_LENGTH - 1, last)[:MAX_PARTS])


def other_tokens(text: str, mark: str, whole: bool = True) -> set[str]:
    """Return the tokens of what a title is found by besides its names: words, and the whole if `whole`."""
    folded = fold_for_search(text)
    tokens = {"p" + word[:MAX_MARKED_LENGTH] + mark for word in folded.split()}
    return tokens | {whole_name_token(folded, mark)} if whole and folded else tokens


def whole_name_token(folded: str, mark: str) -> str:
    """Return the token of a whole name of something else than the title."""
    return "x" + without_spaces(folded)[:MAX_MARKED_LENGTH] + mark


def record_names(record: CatalogRecord) -> set[Name]:
    """Return a title's names in all languages."""
    language = record.languages[0] if record.languages else None
    names = [Name(record.title, language), Name(record.original_title or record.title, language)]
    names += [Name(texts.title, tag) for tag, texts in record.localizations.items() if texts.title]
    names += [Name(other.title, other.language) for other in record.alternative_titles]
    return set(names)


def record_tokens(record: CatalogRecord) -> set[str]:
    """Return every token by which a title is found."""
    tokens: set[str] = set()
    for name in record_names(record):
        tokens |= name_tokens(name)
    if record.year:
        tokens.add(f"j{record.year}")
    tokens.update(*map(_credit_tokens, {credit.name for credit in record.credits}))
    for character in {credit.character for credit in record.credits if credit.character}:
        tokens |= character_tokens(character)
    for mark, texts in ((TAG, record.tags), (STUDIO, record.studios)):
        for text in texts:
            tokens |= other_tokens(text, mark, whole=False)
    tokens |= external_id_tokens(record.external_id, record.external_ids)
    tokens |= episode_tokens_of_series(record)
    return clip_tokens(tokens)


@lru_cache(maxsize=50_000)
def _credit_tokens(name: str) -> frozenset[str]:
    return frozenset("p" + word for word in fold_for_search(name).split())


def clip_tokens(tokens: Iterable[str]) -> set[str]:
    """Return the tokens at their maximum length."""
    return {token[:MAX_TOKEN_LENGTH] for token in tokens}


def character_tokens(character: str) -> set[str]:
    """Return the tokens of a character, whole also without a title: `Dr. Hannibal Lecter` is `Hannibal Lecter`."""
    words = fold_for_search(character).split()
    tokens = other_tokens(character, CHARACTER)
    return tokens | {whole_name_token(" ".join(words[-2:]), CHARACTER)} if len(words) > 2 else tokens


def external_id_tokens(external_id: str, external_ids: dict[str, str]) -> set[str]:
    """Return the tokens of a title's or an episode's ids: `imdbtt0111161`, and `tt0111161` if it is not a number."""
    ids = {external_id, *(f"{scheme}:{value}" for scheme, value in external_ids.items())} - {""}
    ids |= {value for name in ids if not (value := _EXTERNAL_ID_SCHEMES.sub("", name)).isdigit()}
    return {whole_name_token(fold_for_search(name), EXTERNAL_ID) for name in ids}


def episode_tokens_of_series(record: CatalogRecord) -> set[str]:
    """Return the tokens of a series' episodes, up to MAX_EPISODE_TOKENS.

    Without the episodes that some who see the series do not: the series would reveal them.
    """
    return _tokens_of_episodes(record, withheld=False)


def withheld_episode_tokens(record: CatalogRecord) -> set[str]:
    """Return the tokens that `episode_tokens_of_series` leaves out: those episodes are found only as hits of their own.

    Their words still serve as spelling corrections.
    """
    return _tokens_of_episodes(record, withheld=True)


def _tokens_of_episodes(record: CatalogRecord, withheld: bool) -> set[str]:
    tokens: set[str] = set()
    for season in record.seasons:
        for episode in season.episodes:
            if _is_withheld(record, episode.age_rating or season.age_rating) != withheld:
                continue
            for name in episode_names(episode):
                tokens |= other_tokens(name.text, EPISODE)
            if ids := getattr(episode, "external_ids", None):
                tokens |= external_id_tokens("", ids)
            if len(tokens) > MAX_EPISODE_TOKENS:
                return tokens
    return tokens


def _is_withheld(record: CatalogRecord, rating: str | None) -> bool:
    """Whether an episode's own rating hides it from somebody, in some country, who sees its series.

    Namely from an age limit, or from visitors without a token, who see unrated titles but none for adults.
    """
    if rating is None:
        return False
    own = parse_age_rating(rating).min_age
    series = [record.min_age, *(other.min_age for other in record.ratings_by_country.values())]
    return age_gate(own) > min(map(age_gate, series)) or (is_adult(own) and None in series)


def episode_names(episode: Any) -> list[Name]:
    """Return the names of a record's episode in all languages."""
    names = [Name(episode.title)] if episode.title else []
    localizations = getattr(episode, "localizations", None) or {}
    return names + [Name(texts.title, tag) for tag, texts in localizations.items() if texts.title]


def episode_tokens(names: Iterable[Name], season: int, number: int, series: Iterable[Name]) -> set[str]:
    """Return the tokens of an episode: its names, its number as `s05e14` and `5x14`, and the words of its series."""
    tokens = {f"j{form}" for form in (f"s{season:02}e{number:02}", f"s{season}e{number}", f"{season}x{number:02}")}
    for name in names:
        tokens |= name_tokens(name)
    for name in series:
        tokens |= {"p" + word for word in fold_for_search(name.text).split()}
    return clip_tokens(tokens)


def person_tokens(name: str) -> set[str]:
    """Return the tokens of a person; two words joined find no more than the name without spaces."""
    return clip_tokens(token for token in name_tokens(Name(name), with_joined=False) if token[0] != "j")


def channel_tokens(name: Name, number: str | None, external_id: str) -> set[str]:
    """Return the tokens of a channel: its name, its number and its external id."""
    numbers = {"j" + word for word in fold_for_search(number or "").split()}
    return clip_tokens(name_tokens(name) | numbers | external_id_tokens(external_id, {}))


def programme_tokens(titles: Iterable[Name], subtitles: Iterable[str]) -> set[str]:
    """Return the tokens of a programme: its names, and its subtitles as the names of episodes."""
    tokens: set[str] = set()
    for title in titles:
        tokens |= name_tokens(title)
    for subtitle in subtitles:
        tokens |= other_tokens(subtitle, EPISODE)
    return clip_tokens(tokens)


def correctable_words(tokens: set[str]) -> set[str]:
    """Return the words among tokens that may serve as spelling corrections."""
    words = {token[1:].partition("_")[0] for token in tokens if token[0] in "njp" and not token.endswith(COMPOUND)}
    return {word for word in words if word and not word.isdigit()}
