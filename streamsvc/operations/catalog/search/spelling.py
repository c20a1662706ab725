"""Spelling: the words of the catalogue that a misspelt one may have meant."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from streamsvc.models import SearchWord
from streamsvc.operations.catalog.titles.json_fragments import encode_json
from streamsvc.rules.catalog.typos import (
    MIN_WORD_LENGTH,
    is_similar,
    sound_key,
    without_doubled_letters,
    words_one_edit_away,
)
from streamsvc.storage.compiled_statements import CompiledStatement
from streamsvc.storage.database import db

MAX_CORRECTIONS = 12
MAX_WORDS_PER_SOUND = 300
"""Words of one sound that are looked at, the first by alphabet."""


def suggest_corrections(words: list[str]) -> dict[str, list[str]]:
    """For each word of a query the known words that are one slip away from it, or sound and look like it.

    A short word that is known is meant as it is typed.
    """
    slips = {word: words_one_edit_away(word) for word in words}
    words = [word for word, away in slips.items() if away]
    if not words:
        return {}
    known = _list_known_words(
        {*words}.union(*(slips[word] for word in words)), {sound_key(word) for word in words} - {""}
    )
    return {
        word: [] if len(word) <= MIN_WORD_LENGTH and word in known else _rank_corrections(word, slips[word], known)
        for word in words
    }


def _rank_corrections(word: str, one_edit_away: set[str], known: set[str]) -> list[str]:
    """The known words that were most likely meant: people mistake single and double letters before others, and seldom
    the first letter, nor often the length."""
    heard = sound_key(word)
    others = {other for other in known if heard and sound_key(other) == heard and is_similar(word, other)} | (
        known & one_edit_away
    )
    nearest = sorted(
        others - {word},
        key=lambda other: (
            without_doubled_letters(other) != without_doubled_letters(word),
            other not in one_edit_away,
            other[0] != word[0],
            abs(len(other) - len(word)),
            other,
        ),
    )
    return nearest[:MAX_CORRECTIONS]


def _list_known_words(words: set[str], sounds: set[str]) -> set[str]:
    """Those of the words that some title or person has, and the words with one of the sounds."""
    dialect = db.engine.dialect.name
    one_text = encode_json if dialect == "sqlite" else ",".join
    rows = KNOWN_WORDS[dialect].all(words=one_text(sorted(words)), sounds=one_text(sorted(sounds)))
    return {row.word for row in rows}


def _split_parameter(name: str, dialect: str):
    """Hundreds of words as one parameter: a statement that is the same for every query."""
    given = sa.bindparam(name, type_=sa.Text())
    if dialect == "sqlite":
        return sa.select(sa.func.json_each(given).table_valued("value").c.value)
    return sa.select(sa.func.unnest(sa.func.string_to_array(given, ",", type_=ARRAY(sa.Text()))))


def _known_words_statement(dialect):
    sounds = _split_parameter("sounds", dialect)
    heard = (
        sa.select(SearchWord.word)
        .where(SearchWord.sound.in_(sounds))
        .order_by(SearchWord.word)
        .limit(MAX_WORDS_PER_SOUND)
    )
    return CompiledStatement(
        sa.union_all(
            sa.select(SearchWord.word).where(SearchWord.word.in_(_split_parameter("words", dialect))),
            sa.select(heard.subquery()),
        )
    )


KNOWN_WORDS = {dialect: _known_words_statement(dialect) for dialect in ("sqlite", "postgresql")}
