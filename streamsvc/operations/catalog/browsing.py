"""Ways into the catalogue: genres, and what lists can be narrowed to."""

import sqlalchemy as sa

from streamsvc.database import all_rows
from streamsvc.models import Facet, Title, TitleFacet
from streamsvc.models.catalog.visibility import IN_CATALOG, VISIBLE
from streamsvc.operations.catalog.audience import Audience
from streamsvc.operations.catalog.json import dumped, json_page
from streamsvc.operations.catalog.state import Known


def _with_titles(shown):
    """The facets of a kind with at least one title that is shown: for each, its links are walked to the first."""
    some = sa.exists().where(TitleFacet.facet_pk == Facet.pk, Title.pk == TitleFacet.title_pk, shown).correlate(Facet)
    return sa.select(Facet.code).where(Facet.kind == sa.bindparam("kind"), some).order_by(Facet.code)


WITH_TITLES = {True: _with_titles(IN_CATALOG), False: _with_titles(VISIBLE)}


def codes(kind: str, audience: Audience) -> list[str]:
    """The codes of a kind of facet under which the audience finds at least one title."""
    return [code for (code,) in all_rows(WITH_TITLES[audience.sees_all], {**audience.parameters(), "kind": kind})]


def genres(audience: Audience, known: Known) -> str:
    return json_page([dumped({"code": code, "name": name_of(code)}) for code in codes("genre", audience)], None)


def name_of(code: str) -> str:
    """`sci-fi` → `Sci-Fi`: how a genre is shown where nobody named it otherwise."""
    return code.title()
