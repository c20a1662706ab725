"""What a title is found under, and what is asked of the index for a query.

Each token carries its class in its first letter, so that one index with no columns and no positions is enough:
`c` a whole name run together, `s` a whole name with its words parted by `_`, `n` a word of a name, `j` two words run
together or a Roman numeral as digits, `p` a word of a person's name.

A query becomes stages, best first; a title belongs to the first stage that it matches, and within a stage the more
popular one comes first. The same expression is written for SQLite's FTS5 and for PostgreSQL's tsquery, over the same
tokens: both databases answer alike.
"""

from typing import NamedTuple

from streamsvc.rules.catalog.record import Title
from streamsvc.rules.catalog.text import ROMAN, compact, fold, joined

LONGEST_QUERY = 200
MOST_WORDS = 12
LONGEST_TOKEN = 100
SHORTEST_RUN_TOGETHER = 5  # letters: below, `them` would begin "The Matrix"
FEW = 24
"""Guesses are made only where fewer hits than this are certain."""


class Stage(NamedTuple):
    match: str
    """What the answer says of the hit: exact, prefix, words or fuzzy."""
    expression: tuple


def tokens(record: Title) -> set[str]:
    """Every token under which the title is found: its names in all languages, and its people."""
    found = set()
    others = [localization.title for localization in record.localizations.values()]
    for name in {record.title, record.original_title, *others} - {None}:
        folded = fold(name)
        words = folded.split()
        found |= {"c" + compact(folded), "s" + "_".join(words)}
        found |= {"n" + word for word in words}
        found |= {"j" + pair for pair in joined(folded)}
    for name in {credit.name for credit in record.credits}:
        found |= {"p" + word for word in fold(name).split()}
    return {token[:LONGEST_TOKEN] for token in found}


def vocabulary(found: set[str]) -> set[str]:
    """The words among tokens that a misspelt one may have meant."""
    return {token[1:] for token in found if token[0] in "njp"}


def words_of(query: str) -> list[str]:
    """The words of a query, as the index has them; none for a query of nothing at all."""
    return [word[: LONGEST_TOKEN - 1] for word in fold(query[:LONGEST_QUERY]).split()[:MOST_WORDS]]


def certain_stages(words: list[str]) -> list[Stage]:
    """What matches the query as it was typed."""
    whole = "".join(words)[: LONGEST_TOKEN - 1]
    begins = [_prefix("s" + "_".join(words)[: LONGEST_TOKEN - 1])]
    if len(whole) >= SHORTEST_RUN_TOGETHER:
        begins.append(_prefix("c" + whole))
    run_together = [[*words[:at], words[at] + words[at + 1], *words[at + 2 :]] for at in range(len(words) - 1)]
    by_name = [_all(_prefix("n" + word) for word in way) for way in [words, *run_together]]
    return _apart(
        Stage("exact", _term("c" + whole)),
        Stage("prefix", _any(begins)),
        Stage("words", _any(by_name)),
        Stage("words", _any(_all(map(_anywhere, way)) for way in [words, *run_together])),
    )


def guesses(words: list[str], corrections: dict[str, list[str]]) -> list[Stage]:
    """What the query may have meant: words one slip away, then all words but one. After the certain stages."""
    likely = []
    if any(corrections.get(word) for word in words):
        likely.append(Stage("fuzzy", _all(_meant(word, corrections.get(word, ())) for word in words)))
    if len(words) > 2:
        rests = [[*words[:at], *words[at + 1 :]] for at in range(len(words))]
        likely.append(
            Stage("fuzzy", _any(_all(_meant(word, corrections.get(word, ())) for word in rest) for rest in rests))
        )
    return likely


def stages(words: list[str], corrections: dict[str, list[str]] | None = None) -> list[Stage]:
    """All stages of a query in their order, no title in two of them."""
    certain = certain_stages(words)
    if corrections is None:
        return certain
    taken = _any(stage.expression for stage in certain)
    return certain + [Stage(match, ("not", wanted, taken)) for match, wanted in _apart(*guesses(words, corrections))]


def _apart(*all_stages):
    """The stages without what an earlier one already gives."""
    apart = []
    for at, (match, wanted) in enumerate(all_stages):
        earlier = [stage.expression for stage in all_stages[:at]]
        apart.append(Stage(match, ("not", wanted, _any(earlier)) if earlier else wanted))
    return apart


def _anywhere(word):
    ways = [_prefix("n" + word), _prefix("p" + word), _term("j" + word)]
    if len(word) >= SHORTEST_RUN_TOGETHER:
        ways.append(_prefix("j" + word))
    if word in ROMAN:
        ways.append(_term("n" + ROMAN[word]))
    return _any(ways)


def _meant(word, instead):
    return _any([_anywhere(word), *(_term(kind + other) for other in instead for kind in "npj")])


def _term(token):
    return ("term", token)


def _prefix(token):
    return ("prefix", token)


def _all(parts):
    return ("and", *parts)


def _any(parts):
    return ("or", *parts)


def fts5(expression: tuple) -> str:
    """The expression in the language of SQLite's full-text search."""
    operator, *parts = expression
    if operator in ("term", "prefix"):
        return f'"{parts[0]}"' + ("*" if operator == "prefix" else "")
    return "(" + f" {operator.upper()} ".join(map(fts5, parts)) + ")"


def tsquery(expression: tuple) -> str:
    """The expression in the language of PostgreSQL's text search."""
    operator, *parts = expression
    if operator in ("term", "prefix"):
        return f"'{parts[0]}'" + (":*" if operator == "prefix" else "")
    sign = {"and": " & ", "or": " | ", "not": " & !"}[operator]
    return "(" + sign.join(map(tsquery, parts)) + ")"
