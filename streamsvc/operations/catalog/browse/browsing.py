"""Ways into the catalogue: genres, people, and what lists can be narrowed to."""

import sqlalchemy as sa

from streamsvc.http.pagination import short_page
from streamsvc.models import Facet, Person, Title, TitleCard, TitleCredit, TitleFacet
from streamsvc.models.catalog.visibility import IN_CATALOG, VISIBLE
from streamsvc.operations.catalog.reading.audience import Audience
from streamsvc.operations.catalog.reading.lists import SORTS, told
from streamsvc.operations.catalog.reading.version import Known
from streamsvc.operations.catalog.titles.json_fragments import dumped, joined, json_list, member
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.storage.database import all_rows, one_row

MOST_CREDITS = 500


def _both(select):
    """A statement for operators, who see all, and one for viewers."""
    return {True: select(IN_CATALOG), False: select(VISIBLE)}


def _with_titles(shown):
    """The facets of a kind with at least one title that is shown: of each, the links are walked to the first."""
    some = sa.exists().where(TitleFacet.facet_pk == Facet.pk, Title.pk == TitleFacet.title_pk, shown).correlate(Facet)
    return sa.select(Facet.code).where(Facet.kind == sa.bindparam("kind"), some).order_by(Facet.code)


def _years(shown):
    def first(order):
        return sa.select(Title.year).where(Title.year_key > 0, shown).order_by(order).limit(1)

    return sa.select(
        first(Title.year_key).scalar_subquery().label("least"),
        first(Title.year_key.desc()).scalar_subquery().label("most"),
    )


def _credits(shown):
    return (
        sa.select(Title.pk, TitleCard.body, TitleCredit.role, TitleCredit.character)
        .join(TitleCredit, TitleCredit.title_pk == Title.pk)
        .join(TitleCard, sa.and_(TitleCard.title_pk == Title.pk, TitleCard.locale == ""))
        .where(TitleCredit.person_pk == sa.bindparam("person"), shown)
        .order_by(Title.year_key.desc(), Title.pk.desc(), TitleCredit.position)
        .limit(MOST_CREDITS)
    )


WITH_TITLES, YEARS, CREDITS = _both(_with_titles), _both(_years), _both(_credits)
PERSON = sa.select(Person.pk, Person.id, Person.name).where(Person.id == sa.bindparam("id"))


def codes(kind: str, audience: Audience) -> list[str]:
    """The codes of a kind of facet under which the audience finds at least one title."""
    return [code for (code,) in all_rows(WITH_TITLES[audience.sees_all], {**audience.parameters(), "kind": kind})]


def genres(asked: dict, audience: Audience) -> str:
    return dumped(short_page([_genre(code) for code in codes("genre", audience)], asked, "genres", _code))


def filters(audience: Audience) -> str:
    """What lists can be narrowed to and sorted by, as JSON: only values under which there is something to see."""
    years = one_row(YEARS[audience.sees_all], audience.parameters())
    return dumped(
        {
            "kinds": codes("kind", audience),
            "genres": [_genre(code) for code in codes("genre", audience)],
            "languages": codes("language", audience),
            "countries": codes("country", audience),
            "years": {"min": years.least, "max": years.most},
            "sorts": SORTS,
        }
    )


def _code(genre):
    return [genre["code"]]


def _genre(code):
    return {"code": code, "name": code.title()}


def person(person_id: str, asked: dict, audience: Audience, known: Known) -> str:
    """A person and what they did in titles that the audience may see, the newest first. Raises NotFound for none."""
    row = one_row(PERSON, {"id": person_id})
    found = row and all_rows(CREDITS[audience.sees_all], {**audience.parameters(), "person": row.pk})
    if not found:
        raise NotFound
    cards = told(found, asked["locale"] or audience.language, known)
    credits = [
        joined(dumped({"role": one.role, "character": one.character}), member("title", card))
        for one, card in zip(found, cards, strict=True)
    ]
    return joined(dumped({"id": row.id, "name": row.name}), member("credits", json_list(credits)))
