"""Lexeme frequencies from PostgreSQL's statistics, used to choose how a search runs.

PostgreSQL's full-text index returns all titles that match an expression, unordered. If many match, it is faster to
scan all titles from the most popular down and test each until the page is full.
"""

import time
from bisect import bisect_left
from itertools import accumulate
from math import prod

import sqlalchemy as sa
from flask import current_app

from streamsvc.rules.catalog.search import Expression
from streamsvc.storage.database import fetch_existing

CACHE_TTL_S = 300
LEXEME_STATISTICS = sa.text(
    "SELECT greatest(c.reltuples, 0) AS titles, s.most_common_elems::text::text[] AS tokens,"
    " s.most_common_elem_freqs AS shares FROM pg_class c"
    " LEFT JOIN pg_stats s ON s.tablename = c.relname AND s.attname = 'words' AND s.schemaname = current_schema()"
    " WHERE c.oid = to_regclass('search_docs')"
)


class LexemeStatistics:
    """The most common tokens and the share of titles that contain each; other tokens count as being in none."""

    def __init__(self, titles: float = 0, tokens: list[str] | None = None, shares: list[float] | None = None):
        self.titles, self.loaded_at = titles, time.monotonic()
        shares_by_token = sorted(zip(tokens or (), shares or (), strict=False))
        self._tokens = [token for token, _ in shares_by_token]
        self._sums = [0.0, *accumulate(share for _, share in shares_by_token)]

    def is_common(self, expression: Expression, limit: int) -> bool:
        """Whether scanning all titles fills a page of this expression faster than the full-text index.

        The scan tests limit ÷ share titles; the index returns share × titles.
        """
        share = self._share(expression)
        return share * share * self.titles > limit

    def _share(self, expression: Expression) -> float:
        operator, *parts = expression
        if operator == "and":
            return prod(map(self._share, parts))
        if operator == "or":
            return min(1.0, sum(map(self._share, parts)))
        if operator == "not":
            return self._share(parts[0])
        return self._share_of_token(parts[0], is_prefix=operator == "prefix")

    def _share_of_token(self, token: str, is_prefix: bool) -> float:
        if token[0] == "s":  # whole names, each rare: at most as many start with the words as contain them
            *complete, final = ("n" + word for word in token[1:].split("_"))
            return prod(self._share_of_token(word, is_prefix=False) for word in complete) * self._share_of_token(
                final, is_prefix
            )
        first = bisect_left(self._tokens, token)
        last = bisect_left(self._tokens, token + ("\U0010ffff" if is_prefix else "\0"))
        return min(1.0, self._sums[last] - self._sums[first])


def load_lexeme_statistics() -> LexemeStatistics:
    """Return the latest statistics, read again every five minutes."""
    statistics = current_app.extensions.get("catalog_lexemes")
    if statistics is None or time.monotonic() - statistics.loaded_at > CACHE_TTL_S:
        row = fetch_existing(LEXEME_STATISTICS)
        statistics = current_app.extensions["catalog_lexemes"] = LexemeStatistics(*row)
    return statistics
