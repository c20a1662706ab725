"""Whether a search scans all titles or uses PostgreSQL's full-text index, by how common its words are."""

import pytest

from streamsvc.operations.catalog.search.lexemes import LexemeStatistics

pytestmark = pytest.mark.every_database

FILM, THE, RARE = ("term", "nfilm"), ("term", "nthe"), ("term", "nrare")
STATISTICS = LexemeStatistics(1_000, ["nthe", "nfilm", "nfile"], [0.75, 0.5, 0.25])


@pytest.mark.parametrize(
    ("expression", "share"),
    [
        (FILM, 0.5),
        (RARE, 0),
        (("prefix", "nfil"), 0.75),
        (("prefix", "n"), 1),
        (("prefix", "nx"), 0),
        (("and", FILM, THE), 0.375),
        (("or", FILM, ("term", "nfile")), 0.75),
        (("or", FILM, THE), 1),
        (("not", FILM, THE), 0.5),
        (("term", "sthe_film"), 0.375),
        (("prefix", "sthe_fil"), 0.5625),
        (("prefix", "sthe"), 0.75),
    ],
    ids=str,
)
def test_a_scan_is_chosen_if_the_index_would_return_more_titles_than_it_tests(expression, share):
    """The scan tests limit ÷ share titles, the index returns share × 1,000: they are equal at this limit."""
    limit = share * share * 1_000
    assert not STATISTICS.is_common(expression, limit)
    assert STATISTICS.is_common(expression, limit - 1)


def test_without_statistics_no_word_is_common():
    assert not LexemeStatistics().is_common(FILM, 0)
