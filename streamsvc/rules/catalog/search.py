"""The expressions that a query runs against the index of tokens (rules/catalog/tokens.py).

A query becomes stages, best first. A title belongs to the first stage it matches; within a stage the more popular title
comes first. SQLite's FTS5 and PostgreSQL's tsquery run the same expression over the same tokens, so both databases
return the same results.
"""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

from streamsvc.rules.catalog.indic import devanagari_words, indic_keys, latin_spellings
from streamsvc.rules.catalog.keyboards import retyped_queries
from streamsvc.rules.catalog.orthography import (
    consonant_skeleton,
    is_hangul_initials,
    is_ideograph,
    spellings_without_article,
)
from streamsvc.rules.catalog.romanization import (
    MIN_KEY_LENGTH,
    romanization_key,
    romanized_spellings,
    slavic_name_spellings,
)
from streamsvc.rules.catalog.text import (
    FOREIGN_NUMBER_WORDS,
    alternative_spellings,
    is_unspaced,
    replace_number_words,
    without_digraphs,
)
from streamsvc.rules.catalog.tokens import MAX_MARKED_LENGTH, MAX_TOKEN_LENGTH, fold_for_search

MAX_QUERY_LENGTH = 200
MAX_QUERY_WORDS = 12
MIN_JOINED_LENGTH = 5  # letters; with fewer, `them` would match the start of "The Matrix"
MAX_WORDS_TO_JOIN = 4  # words
STOP_WORDS = frozenset(
    "the a an and of in on to le la les de der die das del el il los las und et y e og och en i".split()
)
_INITIALS = re.compile(r"\b(?:[^\W\d_]\.)+[^\W\d_]\b(?!\.)")
_EPISODE_NUMBER = re.compile(r"(?:s(\d{1,3})e|(\d{1,3})x)(\d{1,4})")
_EXTERNAL_ID_IN_URL = re.compile(r"https?://\S*?/(tt\d+|nm\d+|Q\d+)\S*")
MIN_CERTAIN_HITS = 5
"""Guesses run only if the certain stages gave fewer hits than this."""


Expression = tuple[Any, ...]
"""An operator and its operands: a token of `term` and `prefix`, expressions of `and`, `or` and `not`."""


class SearchStage(NamedTuple):
    """One expression of a query and the kind of match it stands for."""

    match: str
    """The `match` of its hits: exact, prefix, words or fuzzy."""
    expression: Expression
    earlier: tuple[Expression, ...] = ()
    """What the stages before it match."""

    @property
    def distinct(self) -> Expression:
        """The expression without what an earlier stage matches."""
        return ("not", self.expression, _any(self.earlier)) if self.earlier else self.expression


def query_words(query: str) -> list[str]:
    """Return the words of a query as the index has them; empty if the query has none.

    Initials may lack their last dot: `e.t` is `E.T.`.
    """
    completed = _INITIALS.sub(r"\g<0>.", _EXTERNAL_ID_IN_URL.sub(r"\1", query[:MAX_QUERY_LENGTH]))
    return [word[: MAX_TOKEN_LENGTH - 1] for word in fold_for_search(completed).split()[:MAX_QUERY_WORDS]]


def distinctive_words(words: list[str]) -> list[str]:
    """Return the words without duplicates and, if any others remain, without stop words.

    A last word of one or two letters stays, since it may be the start of another.
    """
    last = len(words) - 1
    distinctive = [
        word for index, word in enumerate(words) if word not in STOP_WORDS or (index == last and len(word) < 3)
    ]
    return list(dict.fromkeys(distinctive or words))


def certain_stages(words: list[str]) -> list[SearchStage]:
    """Return the stages that match the query as typed; a title may match several."""
    compact = "".join(words)[: MAX_TOKEN_LENGTH - 1]
    starts = [_prefix("s" + "_".join(words)[: MAX_TOKEN_LENGTH - 1])]
    if len(compact) >= MIN_JOINED_LENGTH:
        starts.append(_prefix("c" + compact))
    whole_name = _prefix("x" + compact[:MAX_MARKED_LENGTH] + "_")
    variants = _word_variants(distinctive_words(words))
    in_names = [_all(map(_in_name, variant)) for variant in variants]
    if all(map(is_unspaced, words)) and len(words) > 1:
        in_names = [_all(_term("j" + first + second) for first, second in pairwise(words))]
    # the whole name of an episode or a character counts as much as the start of a title, if it is more than a word
    (starts if len(words) > 1 or is_external_id(compact) else in_names).append(whole_name)
    anywhere = [_all(map(_anywhere, variant)) for variant in variants]
    return [
        SearchStage("exact", _term("c" + compact)),
        SearchStage("prefix", _any(starts)),
        SearchStage("words", _any(in_names)),
        SearchStage("words", _any(anywhere)),
    ]


def is_external_id(compact: str) -> bool:
    """Whether a query is a word with digits in it, as ids are."""
    return any(map(str.isdigit, compact)) and not compact.isdigit()


def _word_variants(words: list[str]) -> list[list[str]]:
    """Return the words, the words with numbers in digits, and the words with two neighbours joined.

    `bat man begins` may be `batman begins`.
    """
    joinable = range(len(words) - 1) if len(words) <= MAX_WORDS_TO_JOIN else ()
    digits = replace_number_words(words)
    return [
        words,
        *([digits] if digits != words else []),
        *([*words[:index], words[index] + words[index + 1], *words[index + 2 :]] for index in joinable),
    ]


def romanized_stages(query: str, words: list[str]) -> list[SearchStage]:
    """Return the stage of names that are typed in Latin letters and have an Indic script, or the other way round."""
    typed = {fold_for_search(word): word for word in devanagari_words(query)}
    others = {word: _as_indic(word, typed.get(word, "")) for word in distinctive_words(words)}
    if not any(others.values()):
        return []
    return [SearchStage("words", _all(_any([_anywhere(word), *spellings]) for word, spellings in others.items()))]


def _as_indic(word: str, typed: str) -> list[Expression]:
    """Return what a word may stand for; `typed` has the vowel signs, which words lack."""
    if not word.isascii():
        return [_exactly(kind, latin) for latin in latin_spellings(typed) for kind in "np"]
    keys = indic_keys(word) if len(word) > 1 and not any(map(str.isdigit, word)) else []
    return [(_prefix if len(key) >= MIN_JOINED_LENGTH else _term)("r" + key) for key in keys]


def guess_stages(words: list[str], corrections: dict[str, list[str]]) -> list[SearchStage]:
    """Return the stages with corrected words, in names and in any token; they follow the certain stages."""
    words = distinctive_words(words)
    if not any(corrections.get(word) for word in words):
        return []
    return [
        SearchStage(
            "fuzzy", _all(_any(_word_alternatives(word, corrections, "n", _prefix("n" + word))) for word in words)
        ),
        SearchStage(
            "fuzzy", _all(_any(_word_alternatives(word, corrections, "npj", _anywhere(word))) for word in words)
        ),
    ]


def last_resort_stages(query: str, words: list[str], corrections: dict[str, list[str]]) -> list[SearchStage]:
    """Return the stages for queries without certain hits; the guesses and one another are their earlier stages.

    All words but one, the Chinese characters without the kana, and the query as another keyboard would have it.
    """
    typed = distinctive_words(words)
    corrected = (_any(_word_alternatives(word, corrections, "n", _prefix("n" + word))) for word in typed)
    expressions = [_all_but_one(map(_in_name, typed)), _all_but_one(corrected)] if len(typed) > 1 else []
    ideographs = [word for word in typed if is_ideograph(word)]
    if 1 < len(ideographs) < len(typed):
        expressions.append(_all(map(_in_name, ideographs)))
    for retyped in filter(None, map(query_words, retyped_queries(query))):
        exact, prefix, in_names, _ = (stage.expression for stage in certain_stages(retyped))
        expressions += [exact, _any([prefix, in_names])]
    guesses = [stage.expression for stage in _later_stages(query, words, corrections)]
    return _in_order([SearchStage("fuzzy", expression) for expression in expressions], after=guesses)


def _all_but_one(parts: Iterable[Expression]) -> Expression:
    """Match all of the parts, or all but any one."""
    parts = list(parts)
    return _any(_all([*parts[:index], *parts[index + 1 :]]) for index in range(len(parts)))


@lru_cache(maxsize=2_000)
def ordered_certain_stages(words: tuple[str, ...]) -> list[SearchStage]:
    """Return the certain stages of a query in order, each with those before it."""
    return _in_order(certain_stages(list(words)))


def search_stages(query: str, words: list[str], corrections: dict[str, list[str]]) -> list[SearchStage]:
    """Return all stages of a query in order, each with those before it; `words` are those of the query."""
    certain = ordered_certain_stages(tuple(words))
    # the third stage is left out: titles with the words in names have them anywhere
    exact, prefix, _, anywhere = (stage.expression for stage in certain)
    return certain + _in_order(_later_stages(query, words, corrections), after=[exact, prefix, anywhere])


def _later_stages(query: str, words: list[str], corrections: dict[str, list[str]]) -> list[SearchStage]:
    """Return the stages that follow if the certain ones gave few hits."""
    return [*romanized_stages(query, words), *guess_stages(words, corrections)]


def _in_order(stages: list[SearchStage], after: Sequence[Expression] = ()) -> list[SearchStage]:
    """Return the stages with the expressions of those before them, and those in `after`, as the earlier ones."""
    expressions = [*after, *(stage.expression for stage in stages)]
    return [
        SearchStage(match, expression, tuple(expressions[: len(after) + index]))
        for index, (match, expression, _) in enumerate(stages)
    ]


def _in_name(word: str) -> Expression:
    return _prefix(("k" if is_hangul_initials(word) else "n") + word)


def _anywhere(word: str) -> Expression:
    joined = _prefix if len(word) >= MIN_JOINED_LENGTH else _term
    spellings = [_in_name(word), _prefix("p" + word), joined("j" + word)]
    others = [*alternative_spellings(word), *filter(None, [FOREIGN_NUMBER_WORDS.get(word)])]
    spellings += [_term(kind + spelling) for spelling in others for kind in "nj"]
    if episode := _EPISODE_NUMBER.fullmatch(word):
        season, number = int(episode[1] or episode[2]), int(episode[3])
        spellings.append(_term(f"js{season:02}e{number:02}"))
    spellings += _as_romanized(word) if word.isascii() else _as_in_other_scripts(word)
    return _any(spellings)


def _as_romanized(word: str) -> list[Expression]:
    """Return what a Latin word may stand for in names of other scripts, and the other ways to write it."""
    key = romanization_key(word)
    spellings = {*slavic_name_spellings(word), without_digraphs(word)} - {word}
    expressions = [_exactly(kind, spelling) for spelling in sorted(spellings) for kind in "np"]
    if key and not word.isdigit():
        expressions.append(_prefix("r" + key) if len(key) >= MIN_KEY_LENGTH else _term("r" + key))
    return expressions


def _as_in_other_scripts(word: str) -> list[Expression]:
    """Return what a word of another script may stand for: the same without its article or vowels, or in Latin."""
    spellings = [_prefix("n" + spelling) for spelling in spellings_without_article(word)]
    if skeleton := consonant_skeleton(word):
        spellings.append(_term("r" + skeleton))
    return spellings + [_prefix(kind + latin) for latin in romanized_spellings(word) for kind in "np"]


def _word_alternatives(
    word: str, corrections: dict[str, list[str]], kinds: str, as_typed: Expression
) -> list[Expression]:
    return [as_typed, *(_exactly(kind, correction) for correction in corrections.get(word, ()) for kind in kinds)]


def _exactly(kind: str, word: str) -> Expression:
    """Match a whole word; one of class p may have a mark at its end."""
    return _prefix(kind + word) if kind == "p" else _term(kind + word)


def _term(token: str) -> Expression:
    return ("term", token)


def _prefix(token: str) -> Expression:
    return ("prefix", token)


def _all(parts: Iterable[Expression]) -> Expression:
    return ("and", *parts)


def _any(parts: Iterable[Expression]) -> Expression:
    return ("or", *parts)


@lru_cache(maxsize=5_000)
def format_fts5(expression: Expression) -> str:
    """Return the expression in the syntax of SQLite's FTS5."""
    operator, *parts = expression
    if operator in ("term", "prefix"):
        return f'"{parts[0]}"' + ("*" if operator == "prefix" else "")
    return "(" + f" {operator.upper()} ".join(map(format_fts5, parts)) + ")"


@lru_cache(maxsize=5_000)
def format_tsquery(expression: Expression) -> str:
    """Return the expression in the syntax of PostgreSQL's tsquery."""
    operator, *parts = expression
    if operator in ("term", "prefix"):
        return f"'{parts[0]}'" + (":*" if operator == "prefix" else "")
    sign = {"and": " & ", "or": " | ", "not": " & !"}[operator]
    return "(" + sign.join(map(format_tsquery, parts)) + ")"
