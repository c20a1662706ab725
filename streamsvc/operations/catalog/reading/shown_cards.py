"""Title cards as an audience sees them: in its language, and with the age rating of its country."""

from collections.abc import Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from streamsvc.models import TitleAgeRating, TitleCard
from streamsvc.operations.catalog.reading.audience import Audience
from streamsvc.operations.catalog.reading.version import CatalogSnapshot
from streamsvc.operations.catalog.titles.json_fragments import encode_json
from streamsvc.rules.maturity import AgeRating
from streamsvc.storage.compiled_statements import CompiledStatement
from streamsvc.storage.database import db, fetch_all
from streamsvc.storage.key_lists import encode_keys, select_keys

MAX_KEPT = 10_000
"""Cards that a process keeps while the catalogue does not change: some 5 MB."""

CARDS_IN_LOCALES = sa.select(TitleCard.title_pk, TitleCard.locale, TitleCard.body).where(
    TitleCard.title_pk.in_(sa.bindparam("pks", expanding=True)),
    TitleCard.locale.in_(sa.bindparam("locales", expanding=True)),
)
CARDS = {
    dialect: CompiledStatement(
        sa.select(TitleCard.title_pk, TitleCard.body).where(
            TitleCard.title_pk.in_(select_keys("pks", dialect)), TitleCard.locale == ""
        )
    )
    for dialect in ("sqlite", "postgresql")
}
RATINGS_OF_COUNTRY = sa.select(*TitleAgeRating.__table__.c).where(
    TitleAgeRating.title_pk.in_(sa.bindparam("pks", expanding=True)),
    TitleAgeRating.country == sa.bindparam("country"),
)


def shown_cards(
    rows: Sequence[Any], audience: Audience, snapshot: CatalogSnapshot, locale: str | None = None
) -> list[str]:
    """Return the cards of rows (title's key, card) as the audience sees them.

    Each is in the language closest to `locale`, or to the audience's, else in the title's own; with the rating of the
    audience's country if the title has one, else with its main rating. Neither costs a query while no title has any.
    """
    cards = _adapt_cards({row[0]: row[1] for row in rows}, audience, snapshot, locale)
    return [cards[row[0]] for row in rows]


def listed_cards(
    pks: Sequence[int], audience: Audience, snapshot: CatalogSnapshot, locale: str | None = None
) -> list[str]:
    """Return the cards of the titles with these keys as the audience sees them, as `shown_cards` does."""
    return list(_adapt_cards(_load_cards(pks, snapshot), audience, snapshot, locale).values())


def _load_cards(pks: Sequence[int], snapshot: CatalogSnapshot) -> dict[int, str]:
    """Return the titles' cards in their own languages, by title's key.

    Those that were read before are kept while the catalogue does not change: different lists show the same titles.
    """
    kept = snapshot.cards
    cards = {pk: kept.get(pk) for pk in pks}
    if missing := [pk for pk, card in cards.items() if card is None]:
        dialect = db.engine.dialect.name
        found = {row.title_pk: row.body for row in CARDS[dialect].all(pks=encode_keys(missing, dialect))}
        if len(kept) >= MAX_KEPT:
            kept.clear()
        kept.update(found)
        cards |= found
    return {pk: card for pk, card in cards.items() if card is not None}


def _adapt_cards(
    cards: dict[int, str], audience: Audience, snapshot: CatalogSnapshot, locale: str | None
) -> dict[int, str]:
    """Return cards, by title's key, in the audience's language and with the ratings of its country."""
    if cards and (locales := snapshot.card_locales(locale or audience.language)):
        cards |= _localized_cards(list(cards), locales)
    if cards and snapshot.has_ratings_of(audience.facts.country):
        for rating in fetch_all(RATINGS_OF_COUNTRY, {"pks": list(cards), "country": audience.facts.country}):
            cards[rating.title_pk] = _replace_rating(cards[rating.title_pk], rating)
    return cards


def _localized_cards(pks: list[int], locales: list[str]) -> dict[int, str]:
    """Return the cards that exist in one of the locales, best first, by title's key."""
    found = {(pk, tag): body for pk, tag, body in fetch_all(CARDS_IN_LOCALES, {"pks": pks, "locales": locales})}
    return {pk: body for tag in reversed(locales) for pk in pks if (body := found.get((pk, tag)))}


def _replace_rating(card: str, row: Any) -> str:
    members = msgspec.json.decode(card, type=dict[str, msgspec.Raw])
    rating = AgeRating(row.country, row.label, row.min_age)
    return encode_json(members | {"age_rating": rating._asdict()})
