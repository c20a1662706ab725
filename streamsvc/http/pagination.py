"""Keyset pagination: the next page starts after the last row seen, regardless of rows added since.

A cursor is the last row's sort values, signed together with the name of the list: it can be neither forged nor used
with another list or sort order.
"""

import base64
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import msgspec
import sqlalchemy as sa
from itsdangerous import BadData, Signer
from itsdangerous.encoding import base64_decode, base64_encode
from sqlalchemy.orm import InstrumentedAttribute

from streamsvc.rules.inputs import PageInput, ShortListInput, TotalRelation
from streamsvc.rules.refusals.requests import Invalid
from streamsvc.settings import current_settings
from streamsvc.storage.database import db

MAX_TOTAL = 10_000
"""The largest total that is exact, so that no request counts a whole table."""


def encode_cursor(scope: str, values: list) -> str:
    """Encode the position after the row with these sort values (text, int, None) in the list named `scope`."""
    body = base64.urlsafe_b64encode(msgspec.json.encode(values)).rstrip(b"=")
    return _signer(_keys(), scope).sign(body).decode()


def decode_cursor(scope: str, cursor: str | None) -> list | None:
    """Decode a cursor of the list `scope` to its sort values; None stays None (the first page). Raises Invalid."""
    if cursor is None:
        return None
    try:
        body = _signer(_keys(), scope).unsign(cursor)
        _require_canonical_signature(cursor.rpartition(".")[2])
        return msgspec.json.decode(base64.urlsafe_b64decode(body + b"=" * (-len(body) % 4)))
    except BadData:
        raise Invalid(errors={"cursor": ["Must be the next_cursor of an earlier page of the same list."]}) from None


def _require_canonical_signature(signature: str) -> None:
    """Accept a signature only in the spelling that was issued: base64 has several. Raises BadData."""
    if base64_encode(base64_decode(signature)).decode() != signature:
        raise BadData("not the canonical base64 of the signature")


def build_page(
    rows: Sequence[Any], limit: int, scope: str, key: Callable[[Any], Any], stopped_at: list | None = None
) -> dict:
    """Build a page from up to `limit` + 1 rows; `key(row)` returns a row's sort values.

    `stopped_at` are the sort values to continue from if there are fewer rows because no more were tested.
    """
    items = rows[:limit]
    position = key(items[-1]) if len(rows) > limit else stopped_at
    return {"items": items, "next_cursor": encode_cursor(scope, position) if position else None}


def bounded_count(select: sa.Select[Any]) -> sa.Select[Any]:
    """Return the statement that counts the rows of `select`, at most one more than MAX_TOTAL."""
    return sa.select(sa.func.count()).select_from(select.order_by(None).limit(MAX_TOTAL + 1).subquery())


def total_members(count: int, is_cut: bool = False) -> dict[str, Any]:
    """Return what a page tells of its list's length: `total`, and whether it is `exact`.

    `count` is that of `bounded_count`; `is_cut`: not everything was counted.
    """
    relation: TotalRelation = "at_least" if is_cut or count > MAX_TOTAL else "exact"
    return {"total": min(count, MAX_TOTAL), "total_relation": relation}


def paginate_list(
    rows: Sequence[Any], query: PageInput | ShortListInput, scope: str, key: Callable[[Any], Any]
) -> dict:
    """Build a page of a list in memory, sorted ascending by `key`; without a limit, of all the rest.

    `query` is a loaded ShortListQuery or PageQuery.
    """
    after = decode_cursor(scope, query["cursor"])
    remaining = [row for row in rows if after is None or key(row) > after]
    total = total_members(len(rows)) if query["include_total"] else {}
    return build_page(remaining, query["limit"] or len(remaining), scope, key) | total


def paginate_query(
    select: sa.Select[Any], column: InstrumentedAttribute[Any], query: PageInput, scope: str, descending: bool = True
) -> dict:
    """Build a page of ORM rows sorted by `column` (unique, text), for lists owned by one account.

    `query` is a loaded PageQuery. With `include_total` the page has `total` and `total_relation`.
    """
    after = decode_cursor(scope, query["cursor"])
    statement = select
    if after:
        statement = statement.where(column < after[0] if descending else column > after[0])
    statement = statement.order_by(column.desc() if descending else column).limit(query["limit"] + 1)
    page = build_page(
        db.session.scalars(statement).all(), query["limit"], scope, lambda row: [getattr(row, column.key)]
    )
    if query["include_total"]:
        page |= total_members(db.session.scalars(bounded_count(select)).one())
    return page


def _keys() -> tuple[str, ...]:
    return current_settings().secret_key


@lru_cache(maxsize=256)
def _signer(keys: tuple[str, ...], scope: str) -> Signer:
    signer = Signer(list(reversed(keys)), salt=f"cursor:{scope}")
    derived = [signer.derive_key(key) for key in signer.secret_keys]  # once, not for each signature
    return Signer(derived, key_derivation="none")
