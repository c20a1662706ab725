"""Spelling: the words of the catalogue that a misspelt one may have meant."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from streamsvc.models import SearchWord
from streamsvc.operations.catalog.titles.json_fragments import dumped
from streamsvc.rules.catalog.typos import SHORTEST, alike, one_slip_away, single, sound
from streamsvc.storage.compiled_statements import Prepared
from streamsvc.storage.database import db

MOST_CORRECTIONS = 12
MOST_ALIKE = 300
"""Words of one sound that are looked at, the first by alphabet."""


def corrections(words: list[str]) -> dict[str, list[str]]:
    """For each word of a query the known words that are one slip away from it, or sound and look like it.

    A short word that is known is meant as it is typed.
    """
    slips = {word: one_slip_away(word) for word in words}
    words = [word for word, away in slips.items() if away]
    if not words:
        return {}
    known = _known({*words}.union(*(slips[word] for word in words)), {sound(word) for word in words} - {""})
    return {
        word: [] if len(word) <= SHORTEST and word in known else _likeliest(word, slips[word], known) for word in words
    }


def _likeliest(word: str, slips: set[str], known: set[str]) -> list[str]:
    """The known words that were most likely meant: people mistake single and double letters before others, and seldom
    the first letter, nor often the length."""
    heard = sound(word)
    others = {other for other in known if heard and sound(other) == heard and alike(word, other)} | (known & slips)
    nearest = sorted(
        others - {word},
        key=lambda other: (
            single(other) != single(word),
            other not in slips,
            other[0] != word[0],
            abs(len(other) - len(word)),
            other,
        ),
    )
    return nearest[:MOST_CORRECTIONS]


def _known(words: set[str], sounds: set[str]) -> set[str]:
    """Those of the words that some title or person has, and the words with one of the sounds."""
    dialect = db.engine.dialect.name
    one_text = dumped if dialect == "sqlite" else ",".join
    rows = KNOWN[dialect].all(words=one_text(sorted(words)), sounds=one_text(sorted(sounds)))
    return {row.word for row in rows}


def _listed(name: str, dialect: str):
    """Hundreds of words as one parameter: a statement that is the same for every query."""
    given = sa.bindparam(name, type_=sa.Text())
    if dialect == "sqlite":
        return sa.select(sa.func.json_each(given).table_valued("value").c.value)
    return sa.select(sa.func.unnest(sa.func.string_to_array(given, ",", type_=ARRAY(sa.Text()))))


def _statement(dialect):
    sounds = _listed("sounds", dialect)
    heard = sa.select(SearchWord.word).where(SearchWord.sound.in_(sounds)).order_by(SearchWord.word).limit(MOST_ALIKE)
    return Prepared(
        sa.union_all(
            sa.select(SearchWord.word).where(SearchWord.word.in_(_listed("words", dialect))),
            sa.select(heard.subquery()),
        )
    )


KNOWN = {dialect: _statement(dialect) for dialect in ("sqlite", "postgresql")}
