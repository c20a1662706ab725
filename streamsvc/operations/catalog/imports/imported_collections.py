"""Adds imported titles to the collections that their files name, after the titles already there."""

import hashlib
import re
from collections.abc import Sequence

import sqlalchemy as sa

from streamsvc.models import Collection, CollectionItem, Title, TitleFacet
from streamsvc.models.catalog.facets import LINK_KEYS
from streamsvc.operations.catalog.titles import bulk, writing
from streamsvc.rules.catalog.text import slugify
from streamsvc.storage.database import db

MAX_NAME_LENGTH, MAX_CODE_LENGTH = 200, 64
_CODE = re.compile(r"[a-z0-9][a-z0-9._-]*")


def add_titles_to_collections(memberships: Sequence[tuple[str, int]]) -> None:
    """Add titles (collection's name, title's key) in the caller's transaction; create the collections that are new."""
    by_code: dict[str, tuple[str, list[int]]] = {}
    for name, title_pk in memberships:
        if plain := name.encode(errors="replace").decode().replace("\0", "").strip()[:MAX_NAME_LENGTH]:
            by_code.setdefault(_collection_code(plain), (plain, []))[1].append(title_pk)
    for code, (name, title_pks) in by_code.items():
        _add_titles(code, name, title_pks)


def _collection_code(name: str) -> str:
    """Return a code such as operators choose; a hash for a name that has no Latin letters."""
    code = slugify(name)[:MAX_CODE_LENGTH].strip("-")
    return code if _CODE.fullmatch(code) else f"set-{hashlib.sha256(name.encode()).hexdigest()[:12]}"


def _add_titles(code: str, name: str, title_pks: list[int]) -> None:
    collection = db.session.scalar(sa.select(Collection).where(Collection.code == code))
    if collection is None:
        collection = Collection(code=code, title=name, localizations={})
        db.session.add(collection)
        db.session.flush()
    items = sa.select(CollectionItem.title_pk).where(CollectionItem.collection_pk == collection.pk)
    present = {row.title_pk for row in bulk.select_rows_in(items, CollectionItem.title_pk, title_pks)}
    new_pks = [pk for pk in dict.fromkeys(title_pks) if pk not in present]
    if not new_pks:
        return
    last = db.session.scalar(
        sa.select(sa.func.max(CollectionItem.position)).where(CollectionItem.collection_pk == collection.pk)
    )
    bulk.insert_rows(
        CollectionItem,
        ("collection_pk", "position", "title_pk"),
        [(collection.pk, position, pk) for position, pk in enumerate(new_pks, 0 if last is None else last + 1)],
    )
    facet = writing.get_or_create_facets({("collection", code)}, writing.WriteCache())["collection", code]
    titles = bulk.select_rows_in(sa.select(Title.pk, *(getattr(Title, key) for key in LINK_KEYS)), Title.pk, new_pks)
    rows = [(facet, title.pk, *(getattr(title, key) for key in LINK_KEYS)) for title in titles]
    bulk.insert_rows(TitleFacet, ("facet_pk", "title_pk", *LINK_KEYS), rows)
    writing.increment_catalog_version()
