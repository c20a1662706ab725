"""Spelling correction: the catalogue's words that a misspelled word may stand for."""

import sqlalchemy as sa

from streamsvc.models import SearchWord
from streamsvc.operations.catalog.reading.version import CatalogSnapshot
from streamsvc.rules.catalog.typos import (
    MIN_WORD_LENGTH,
    is_similar,
    sound_key,
    without_doubled_letters,
    words_one_edit_away,
)
from streamsvc.storage.compiled_statements import CompiledStatement
from streamsvc.storage.database import db
from streamsvc.storage.key_lists import encode_keys, select_keys

MAX_CORRECTIONS = 12
MAX_WORDS_PER_SOUND = 300
"""Words of one sound that are considered, the first in alphabetical order."""
MAX_KEPT = 1_000
"""Words whose corrections a process keeps while the catalogue does not change."""


def suggest_corrections(words: list[str], snapshot: CatalogSnapshot) -> dict[str, list[str]]:
    """Return, for each word of a query, the catalogue's words one edit away, or similar in sound and spelling.

    A short word that the catalogue has gets no corrections.
    """
    kept = snapshot.corrections
    suggested = {word: kept[word] for word in words if word in kept}
    if len(suggested) < len(words):
        found = _find_corrections([word for word in words if word not in suggested])
        suggested |= found
        if len(kept) >= MAX_KEPT:
            kept.clear()
        kept |= found
    return suggested


def _find_corrections(words: list[str]) -> dict[str, list[str]]:
    edits_by_word = {word: words_one_edit_away(word) for word in words}
    words = [word for word, edits in edits_by_word.items() if edits]
    if not words:
        return {}
    known_words = _load_known_words(
        {*words}.union(*(edits_by_word[word] for word in words)), {sound_key(word) for word in words} - {""}
    )
    return {
        word: []
        if len(word) <= MIN_WORD_LENGTH and word in known_words
        else _rank_corrections(word, edits_by_word[word], known_words)
        for word in words
    }


def _rank_corrections(word: str, one_edit_away: set[str], known_words: dict[str, str]) -> list[str]:
    """Return the likeliest corrections among the catalogue's words, which have their sounds, best first.

    People most often confuse single and double letters, seldom mistake the first letter, and rarely the length.
    """
    sound = sound_key(word)
    candidates = {
        candidate
        for candidate, its_sound in known_words.items()
        if candidate in one_edit_away or (sound and its_sound == sound and is_similar(word, candidate))
    }
    corrections = sorted(
        candidates - {word},
        key=lambda candidate: (
            without_doubled_letters(candidate) != without_doubled_letters(word),
            candidate not in one_edit_away,
            candidate[0] != word[0],
            abs(len(candidate) - len(word)),
            candidate,
        ),
    )
    return corrections[:MAX_CORRECTIONS]


def _load_known_words(words: set[str], sounds: set[str]) -> dict[str, str]:
    """Return those of `words` that the catalogue has, and its words with one of the sounds, each with its sound."""
    dialect = db.engine.dialect.name
    parameters = {"words": encode_keys(sorted(words), dialect), "sounds": encode_keys(sorted(sounds), dialect)}
    rows = KNOWN_WORDS[dialect].all(**parameters)
    return {row.word: row.sound for row in rows}


def _known_words_statement(dialect: str) -> CompiledStatement:
    sounds = select_keys("sounds", dialect, sa.Text)
    words = select_keys("words", dialect, sa.Text).subquery()
    similar_sounding = (
        sa.select(SearchWord.word, SearchWord.sound)
        .where(SearchWord.sound.in_(sounds))
        .order_by(SearchWord.word)
        .limit(MAX_WORDS_PER_SOUND)
    )
    return CompiledStatement(
        sa.union_all(
            sa.select(SearchWord.word, SearchWord.sound).join(words, SearchWord.word == words.c[0]),
            sa.select(similar_sounding.subquery()),
        )
    )


KNOWN_WORDS = {dialect: _known_words_statement(dialect) for dialect in ("sqlite", "postgresql")}
