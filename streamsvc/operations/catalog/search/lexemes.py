"""How common words are, as PostgreSQL has counted: it chooses how a search is carried out.

Its full-text index gives all titles of an expression, in no order. Where these are many it is quicker to walk all
titles from the most popular one down and to try each, until the page is full.
"""

import time
from bisect import bisect_left
from itertools import accumulate
from math import prod

import sqlalchemy as sa
from flask import current_app

from streamsvc.storage.database import fetch_one

CACHE_TTL_S = 300
LEXEME_STATISTICS = sa.text(
    "SELECT greatest(c.reltuples, 0) AS titles, s.most_common_elems::text::text[] AS tokens,"
    " s.most_common_elem_freqs AS shares FROM pg_class c"
    " LEFT JOIN pg_stats s ON s.tablename = c.relname AND s.attname = 'words' AND s.schemaname = current_schema()"
    " WHERE c.oid = to_regclass('search_docs')"
)


class LexemeStatistics:
    """The most common tokens and the share of titles that each has; the others count as in none."""

    def __init__(self, titles: float = 0, tokens: list[str] | None = None, shares: list[float] | None = None):
        self.titles, self.loaded_at = titles, time.monotonic()
        counted = sorted(zip(tokens or (), shares or (), strict=False))
        self._tokens = [token for token, _ in counted]
        self._sums = [0.0, *accumulate(share for _, share in counted)]

    def is_common(self, expression: tuple, limit: int) -> bool:
        """Whether a page of this expression is found sooner by walking all titles than by the index of words.

        The walk tries limit ÷ share titles, the index gives share × titles.
        """
        share = self._share(expression)
        return share * share * self.titles > limit

    def _share(self, expression) -> float:
        operator, *parts = expression
        if operator == "and":
            return prod(map(self._share, parts))
        if operator == "or":
            return min(1.0, sum(map(self._share, parts)))
        if operator == "not":
            return self._share(parts[0])
        return self._share_of_token(parts[0], begins=operator == "prefix")

    def _share_of_token(self, token: str, begins: bool) -> float:
        if token[0] == "s":  # whole names, each rare; as many begin with the words as have them, at most
            *whole, last = ("n" + word for word in token[1:].split("_"))
            return prod(self._share_of_token(word, begins=False) for word in whole) * self._share_of_token(last, begins)
        first = bisect_left(self._tokens, token)
        last = bisect_left(self._tokens, token + ("\U0010ffff" if begins else "\0"))
        return min(1.0, self._sums[last] - self._sums[first])


def load_lexeme_statistics() -> LexemeStatistics:
    """What was counted last; read anew every few minutes."""
    kept = current_app.extensions.get("catalog_lexemes")
    if kept is None or time.monotonic() - kept.loaded_at > CACHE_TTL_S:
        row = fetch_one(LEXEME_STATISTICS)
        kept = current_app.extensions["catalog_lexemes"] = LexemeStatistics(*row)
    return kept
