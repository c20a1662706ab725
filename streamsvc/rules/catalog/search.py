"""What a title is found under, and what is asked of the index for a query.

Each token carries its class in its first letter, so that one index with no columns and no positions is enough:
`c` a whole name run together, `s` a whole name with its words parted by `_`, both also without a leading article, `n` a
word of a name, `j` two words run together, another reading of a word or a number (`4` for `iv`, `22` for `twenty two`),
or the year, `p` a word of a person's name.

A query becomes stages, best first; a title belongs to the first stage that it matches, and within a stage the more
popular one comes first. The same expression is written for SQLite's FTS5 and for PostgreSQL's tsquery, over the same
tokens: both databases answer alike.
"""

import re
from typing import NamedTuple

from streamsvc.rules.catalog.record import CatalogRecord
from streamsvc.rules.catalog.text import (
    alternative_spellings,
    fold_text,
    joined_words,
    replace_number_words,
    without_article,
    without_spaces,
)

INDEX_VERSION = 2
"""To be raised with every change of the tokens: the index is then made anew."""
MAX_QUERY_LENGTH = 200
MAX_QUERY_WORDS = 12
MAX_TOKEN_LENGTH = 100
MIN_JOINED_LENGTH = 5  # letters: below, `them` would begin "The Matrix"
MAX_WORDS_TO_JOIN = 4  # words
STOP_WORDS = frozenset("the a an and of in on to le la les de der die das el il".split())
_INITIALS = re.compile(r"\b(?:[^\W\d_]\.)+[^\W\d_]\b(?!\.)")
MIN_CERTAIN_HITS = 5
"""Guesses are made only where fewer hits than this are certain."""


class SearchStage(NamedTuple):
    match: str
    """What the answer says of the hit: exact, prefix, words or fuzzy."""
    expression: tuple


def record_tokens(record: CatalogRecord) -> set[str]:
    """Every token under which the title is found: its names in all languages, and its people."""
    found = set()
    others = [localization.title for localization in record.localizations.values()]
    for name in {record.title, record.original_title, *others} - {None}:
        folded = fold_text(name)
        words = folded.split()
        for whole in {folded, without_article(folded)}:
            found |= {"c" + without_spaces(whole), "s" + whole.replace(" ", "_")}
        found |= {"n" + word for word in words}
        found |= {"j" + pair for pair in joined_words(folded)}
    if record.year:
        found.add(f"j{record.year}")
    for name in {credit.name for credit in record.credits}:
        found |= {"p" + word for word in fold_text(name).split()}
    return {token[:MAX_TOKEN_LENGTH] for token in found}


def correctable_words(found: set[str]) -> set[str]:
    """The words among tokens that a misspelt one may have meant."""
    return {token[1:] for token in found if token[0] in "njp" and not token[1:].isdigit()}


def query_words(query: str) -> list[str]:
    """The words of a query, as the index has them; none for a query of nothing at all.

    Who types initials leaves out their last dot: `e.t` is `E.T.`.
    """
    whole = _INITIALS.sub(r"\g<0>.", query[:MAX_QUERY_LENGTH])
    return [word[: MAX_TOKEN_LENGTH - 1] for word in fold_text(whole).split()[:MAX_QUERY_WORDS]]


def distinctive_words(words: list[str]) -> list[str]:
    """The words that tell titles apart, once each: without articles and the like, where there are others.

    A last word of one or two letters stays: it may be the beginning of another.
    """
    last = len(words) - 1
    rest = [word for at, word in enumerate(words) if word not in STOP_WORDS or (at == last and len(word) < 3)]
    return list(dict.fromkeys(rest or words))


def certain_stages(words: list[str]) -> list[SearchStage]:
    """What matches the query as it was typed; a title may be in several."""
    whole = "".join(words)[: MAX_TOKEN_LENGTH - 1]
    begins = [_prefix("s" + "_".join(words)[: MAX_TOKEN_LENGTH - 1])]
    if len(whole) >= MIN_JOINED_LENGTH:
        begins.append(_prefix("c" + whole))
    ways = _word_variants(distinctive_words(words))
    return [
        SearchStage("exact", _term("c" + whole)),
        SearchStage("prefix", _any(begins)),
        SearchStage("words", _any(_all(_prefix("n" + word) for word in way) for way in ways)),
        SearchStage("words", _any(_all(map(_anywhere, way)) for way in ways)),
    ]


def _word_variants(words):
    """The words; with numbers of several words in digits; and with two neighbours run together: `bat man begins` may
    be `batman begins`."""
    joints = range(len(words) - 1) if len(words) <= MAX_WORDS_TO_JOIN else ()
    digits = replace_number_words(words)
    return [
        words,
        *([digits] if digits != words else []),
        *([*words[:at], words[at] + words[at + 1], *words[at + 2 :]] for at in joints),
    ]


def guess_stages(words: list[str], corrections: dict[str, list[str]]) -> list[SearchStage]:
    """What the query may have meant: one slip in a word of a name, in any word. After the certain stages."""
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
    """All words but one, where nothing has all of them."""
    words = distinctive_words(words)
    if len(words) < 2:
        return []
    rests = [[*words[:at], *words[at + 1 :]] for at in range(len(words))]
    return [
        SearchStage(
            "fuzzy",
            _any(_all(_any(_word_alternatives(w, corrections, "n", _prefix("n" + w))) for w in r) for r in rests),
        )
    ]


def search_stages(words: list[str], corrections: dict[str, list[str]] | None = None) -> list[SearchStage]:
    """The stages of a query in their order, no title in two of them: the certain ones, with corrections all."""
    certain = certain_stages(words)
    if corrections is None:
        return _without_earlier(certain)
    exact, prefix, _, anywhere = (
        stage.expression for stage in certain
    )  # what has its words in names has them anywhere
    return _without_earlier(certain) + _without_earlier(
        guess_stages(words, corrections), without=[exact, prefix, anywhere]
    )


def _without_earlier(all_stages, without=()):
    """The stages without what an earlier one already gives, nor what `without` gives."""
    apart = []
    for at, (match, wanted) in enumerate(all_stages):
        earlier = [*without, *(stage.expression for stage in all_stages[:at])]
        apart.append(SearchStage(match, ("not", wanted, _any(earlier)) if earlier else wanted))
    return apart


def _anywhere(word):
    ways = [_prefix("n" + word), _prefix("p" + word), _term("j" + word)]
    if len(word) >= MIN_JOINED_LENGTH:
        ways.append(_prefix("j" + word))
    ways += [_term(kind + other) for other in alternative_spellings(word) for kind in "nj"]
    return _any(ways)


def _word_alternatives(word, corrections, kinds, as_typed):
    return [as_typed, *(_term(kind + other) for other in corrections.get(word, ()) for kind in kinds)]


def _term(token):
    return ("term", token)


def _prefix(token):
    return ("prefix", token)


def _all(parts):
    return ("and", *parts)


def _any(parts):
    return ("or", *parts)


def format_fts5(expression: tuple) -> str:
    """The expression in the language of SQLite's full-text search."""
    operator, *parts = expression
    if operator in ("term", "prefix"):
        return f'"{parts[0]}"' + ("*" if operator == "prefix" else "")
    return "(" + f" {operator.upper()} ".join(map(format_fts5, parts)) + ")"


def format_tsquery(expression: tuple) -> str:
    """The expression in the language of PostgreSQL's text search."""
    operator, *parts = expression
    if operator in ("term", "prefix"):
        return f"'{parts[0]}'" + (":*" if operator == "prefix" else "")
    sign = {"and": " & ", "or": " | ", "not": " & !"}[operator]
    return "(" + sign.join(map(format_tsquery, parts)) + ")"
