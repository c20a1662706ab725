"""Genres and the filters of title lists, as JSON."""

from typing import Any

import sqlalchemy as sa

from streamsvc.http.pagination import paginate_list
from streamsvc.models import Facet, Title, TitleFacet
from streamsvc.models.catalog.visibility import per_visibility
from streamsvc.operations.catalog.reading.audience import Audience
from streamsvc.operations.catalog.reading.list_statements import SORTS
from streamsvc.operations.catalog.titles.json_fragments import encode_json
from streamsvc.rules.inputs import ShortListInput
from streamsvc.storage.compiled_statements import CompiledStatement

MAX_LABELS = 200
"""Tags, and studios, among the filters: there may be tens of thousands."""


def _facets_with_titles_statement(visible: Any) -> CompiledStatement:
    """Select the facets of a kind with at least one visible title; each facet's links are scanned up to the first."""
    has_title = (
        sa.exists().where(TitleFacet.facet_pk == Facet.pk, Title.pk == TitleFacet.title_pk, visible).correlate(Facet)
    )
    facets = sa.select(Facet.code).where(Facet.kind == sa.bindparam("kind"), has_title)
    return CompiledStatement(facets.order_by(Facet.code))


def _top_facets_statement(visible: Any) -> CompiledStatement:
    """Select those of a kind's facets with the most titles that have at least one visible title."""
    top = (
        sa.select(Facet.pk, Facet.code, Facet.name)
        .where(Facet.kind == sa.bindparam("kind"))
        .order_by(Facet.titles.desc(), Facet.pk)
        .limit(MAX_LABELS)
        .subquery("top")
    )
    has_title = sa.exists().where(TitleFacet.facet_pk == top.c.pk, Title.pk == TitleFacet.title_pk, visible)
    return CompiledStatement(sa.select(top.c.code, top.c.name).where(has_title.correlate(top)).order_by(top.c.code))


def _year_range_statement(visible: Any) -> CompiledStatement:
    def first(order: Any) -> sa.Select:
        return sa.select(Title.year).where(Title.year_key > 0, visible).order_by(order).limit(1)

    return CompiledStatement(
        sa.select(
            first(Title.year_key).scalar_subquery().label("first"),
            first(Title.year_key.desc()).scalar_subquery().label("last"),
        )
    )


FACETS_WITH_TITLES, TOP_FACETS, YEAR_RANGE = (
    per_visibility(_facets_with_titles_statement),
    per_visibility(_top_facets_statement),
    per_visibility(_year_range_statement),
)


def list_facet_codes(kind: str, audience: Audience) -> list[str]:
    """Return the codes of a kind of facet that have at least one title visible to the audience."""
    rows = FACETS_WITH_TITLES[audience.visibility].all(**audience.sql_parameters(), kind=kind)
    return [row.code for row in rows]


def genres_json(query: ShortListInput, audience: Audience) -> str:
    """Return a page of the genres with at least one title visible to the audience."""
    return encode_json(
        paginate_list(
            [_genre_view(code) for code in list_facet_codes("genre", audience)], query, "genres", _genre_position
        )
    )


def filters_json(audience: Audience) -> str:
    """Return the filter values with at least one visible title, and the sort orders of lists."""
    (years,) = YEAR_RANGE[audience.visibility].all(**audience.sql_parameters())
    return encode_json(
        {
            "kinds": list_facet_codes("kind", audience),
            "genres": [_genre_view(code) for code in list_facet_codes("genre", audience)],
            "tags": _list_labels("tag", audience),
            "studios": _list_labels("studio", audience),
            "languages": list_facet_codes("language", audience),
            "countries": list_facet_codes("country", audience),
            "years": {"min": years.first, "max": years.last},
            "sorts": SORTS,
        }
    )


def _list_labels(kind: str, audience: Audience) -> list[dict]:
    rows = TOP_FACETS[audience.visibility].all(**audience.sql_parameters(), kind=kind)
    return [_genre_view(code) | ({"name": name} if name else {}) for code, name in rows]


def _genre_position(genre: dict) -> list[str]:
    return [genre["code"]]


def _genre_view(code: str) -> dict:
    return {"code": code, "name": code.title()}
