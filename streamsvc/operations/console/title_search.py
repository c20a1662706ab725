"""Titles for operators, by name or id, whether or not anybody may watch them."""

from typing import Any

import sqlalchemy as sa

from streamsvc.http import pagination
from streamsvc.models import Title
from streamsvc.rules.catalog.inputs import AdminTitlesInput
from streamsvc.rules.catalog.sorting import sort_key
from streamsvc.storage.database import fetch_all

MAX_SCANNED = 20_000
"""Names compared per page; the cursor continues after the last one."""
TITLES = sa.select(
    *(Title.pk, Title.sort_title, Title.id, Title.external_id, Title.kind, Title.title, Title.year),
    *(Title.has_artwork, Title.windowed, Title.plan_limited, Title.added_at, Title.updated_at),
).where(Title.removed_at.is_(None))


def search_titles(query: AdminTitlesInput) -> dict:
    """Return a page of titles by name: those whose name contains `q`, or the one with that id or external id."""
    text = query["q"]
    if text and (":" in text or text.startswith("ttl_")):
        return {"items": fetch_all(TITLES.where(sa.or_(Title.id == text, Title.external_id == text)))} | _end(query)
    scope = f"admin titles:{text}"
    wanted, limit = sort_key(text) if text else "", query["limit"]
    position = sa.tuple_(Title.sort_title, Title.pk)
    window = TITLES.order_by(Title.sort_title, Title.pk).limit(MAX_SCANNED if text else limit + 1)
    if after := pagination.decode_cursor(scope, query["cursor"]):
        window = window.where(position > tuple(after))
    rows = fetch_all(window)
    found = [row for row in rows if wanted in row.sort_title]
    stopped_at = _key(rows[-1]) if text and len(rows) == MAX_SCANNED else None
    page = pagination.build_page(found[: limit + 1], limit, scope, _key, stopped_at)
    return page | (pagination.total_members(len(page["items"]), True) if query["include_total"] else {})


def _key(row: Any) -> list:
    return [row.sort_title, row.pk]


def _end(query: AdminTitlesInput) -> dict:
    return {"next_cursor": None} | (pagination.total_members(1, True) if query["include_total"] else {})
