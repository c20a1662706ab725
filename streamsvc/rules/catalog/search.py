"""The tokens by which a title is found, and the expressions that a query runs against the index.

The first letter of a token is its class, so one index without columns and positions is enough: `c` a whole name without
spaces, `s` a whole name with its words joined by `_`, both also without a leading article, `n` a word of a name, `j`
two words joined, another spelling of a word or a number (`4` for `iv`, `22` for `twenty two`), or the year, `p` a word
of a person's name.

A query becomes stages, best first. A title belongs to the first stage it matches; within a stage the more popular title
comes first. SQLite's FTS5 and PostgreSQL's tsquery run the same expression over the same tokens, so both databases
return the same results.
"""

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from streamsvc.rules.catalog.record import CatalogRecord
from streamsvc.rules.catalog.text import (
    alternative_spellings,
    fold_text,
    joined_words,
    replace_number_words,
    without_article,
    without_spaces,
)

INDEX_VERSION = 3
"""Increment with every change of the tokens or of the titles' sort keys, so that they are rebuilt."""
MAX_QUERY_LENGTH = 200
MAX_QUERY_WORDS = 12
MAX_TOKEN_LENGTH = 100
MIN_JOINED_LENGTH = 5  # letters; with fewer, `them` would match the start of "The Matrix"
MAX_WORDS_TO_JOIN = 4  # words
STOP_WORDS = frozenset("the a an and of in on to le la les de der die das el il".split())
_INITIALS = re.compile(r"\b(?:[^\W\d_]\.)+[^\W\d_]\b(?!\.)")
MIN_CERTAIN_HITS = 5
"""Guesses run only if the certain stages gave fewer hits than this."""


Expression = tuple[Any, ...]
"""An operator and its operands: a token of `term` and `prefix`, expressions of `and`, `or` and `not`."""


class SearchStage(NamedTuple):
    """One expression of a query and the kind of match it stands for."""

    match: str
    """The `match` of its hits: exact, prefix, words or fuzzy."""
    expression: Expression


def record_tokens(record: CatalogRecord) -> set[str]:
    """Return every token by which the title is found: of its names in all languages, its year and its people."""
    tokens: set[str] = set()
    localized = [localization.title for localization in record.localizations.values()]
    alternative = [entry.title for entry in record.alternative_titles]
    for name in {record.title, record.original_title, *localized, *alternative}:
        if name is None:
            continue
        folded = fold_text(name)
        words = folded.split()
        for full_name in {folded, without_article(folded)}:
            tokens |= {"c" + without_spaces(full_name), "s" + full_name.replace(" ", "_")}
        tokens |= {"n" + word for word in words}
        tokens |= {"j" + pair for pair in joined_words(folded)}
    if record.year:
        tokens.add(f"j{record.year}")
    for name in {credit.name for credit in record.credits}:
        tokens |= {"p" + word for word in fold_text(name).split()}
    return {token[:MAX_TOKEN_LENGTH] for token in tokens}


def correctable_words(tokens: set[str]) -> set[str]:
    """Return the words among tokens that may serve as spelling corrections."""
    return {token[1:] for token in tokens if token[0] in "njp" and not token[1:].isdigit()}


def query_words(query: str) -> list[str]:
    """Return the words of a query as the index has them; empty if the query has none.

    Initials may lack their last dot: `e.t` is `E.T.`.
    """
    completed = _INITIALS.sub(r"\g<0>.", query[:MAX_QUERY_LENGTH])
    return [word[: MAX_TOKEN_LENGTH - 1] for word in fold_text(completed).split()[:MAX_QUERY_WORDS]]


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
    variants = _word_variants(distinctive_words(words))
    return [
        SearchStage("exact", _term("c" + compact)),
        SearchStage("prefix", _any(starts)),
        SearchStage("words", _any(_all(_prefix("n" + word) for word in variant) for variant in variants)),
        SearchStage("words", _any(_all(map(_anywhere, variant)) for variant in variants)),
    ]


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


def last_resort_stages(words: list[str], corrections: dict[str, list[str]]) -> list[SearchStage]:
    """Return the stage that matches all words but one, for queries without other hits."""
    words = distinctive_words(words)
    if len(words) < 2:
        return []
    subsets = [[*words[:index], *words[index + 1 :]] for index in range(len(words))]
    return [
        SearchStage(
            "fuzzy",
            _any(
                _all(_any(_word_alternatives(word, corrections, "n", _prefix("n" + word))) for word in subset)
                for subset in subsets
            ),
        )
    ]


def search_stages(words: list[str], corrections: dict[str, list[str]] | None = None) -> list[SearchStage]:
    """Return the stages of a query in order, without overlap; guesses only if `corrections` is given."""
    certain = certain_stages(words)
    if corrections is None:
        return _without_earlier(certain)
    # the third stage is left out: titles with the words in names have them anywhere
    exact, prefix, _, anywhere = (stage.expression for stage in certain)
    return _without_earlier(certain) + _without_earlier(
        guess_stages(words, corrections), without=[exact, prefix, anywhere]
    )


def _without_earlier(all_stages: list[SearchStage], without: Iterable[Expression] = ()) -> list[SearchStage]:
    """Return the stages without the titles that an earlier stage or an expression in `without` matches."""
    stages: list[SearchStage] = []
    for index, (match, expression) in enumerate(all_stages):
        earlier = [*without, *(stage.expression for stage in all_stages[:index])]
        stages.append(SearchStage(match, ("not", expression, _any(earlier)) if earlier else expression))
    return stages


def _anywhere(word: str) -> Expression:
    spellings = [_prefix("n" + word), _prefix("p" + word), _term("j" + word)]
    if len(word) >= MIN_JOINED_LENGTH:
        spellings.append(_prefix("j" + word))
    spellings += [_term(kind + spelling) for spelling in alternative_spellings(word) for kind in "nj"]
    return _any(spellings)


def _word_alternatives(
    word: str, corrections: dict[str, list[str]], kinds: str, as_typed: Expression
) -> list[Expression]:
    return [as_typed, *(_term(kind + correction) for correction in corrections.get(word, ()) for kind in kinds)]


def _term(token: str) -> Expression:
    return ("term", token)


def _prefix(token: str) -> Expression:
    return ("prefix", token)


def _all(parts: Iterable[Expression]) -> Expression:
    return ("and", *parts)


def _any(parts: Iterable[Expression]) -> Expression:
    return ("or", *parts)


def format_fts5(expression: Expression) -> str:
    """Return the expression in the syntax of SQLite's FTS5."""
    operator, *parts = expression
    if operator in ("term", "prefix"):
        return f'"{parts[0]}"' + ("*" if operator == "prefix" else "")
    return "(" + f" {operator.upper()} ".join(map(format_fts5, parts)) + ")"


def format_tsquery(expression: Expression) -> str:
    """Return the expression in the syntax of PostgreSQL's tsquery."""
    operator, *parts = expression
    if operator in ("term", "prefix"):
        return f"'{parts[0]}'" + (":*" if operator == "prefix" else "")
    sign = {"and": " & ", "or": " | ", "not": " & !"}[operator]
    return "(" + sign.join(map(format_tsquery, parts)) + ")"
