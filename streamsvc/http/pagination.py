"""Keyset pages: the next page starts after the last row seen, however many rows came since.

A cursor is the last row's sort values, signed together with the list it belongs to: it cannot be made up, nor carried
to another list or another sort.
"""

import base64
import json
from functools import lru_cache

import sqlalchemy as sa
from flask import current_app
from itsdangerous import BadData, Signer
from itsdangerous.encoding import base64_decode, base64_encode

from streamsvc.rules.refusals.requests import Invalid
from streamsvc.storage.database import db


def encode_cursor(scope: str, values: list) -> str:
    """The cursor that stands after the row with these sort values (text, int, None) in the list named `scope`."""
    body = base64.urlsafe_b64encode(json.dumps(values, separators=(",", ":")).encode()).rstrip(b"=")
    return _signer(_keys(), scope).sign(body).decode()


def decode_cursor(scope: str, cursor: str | None) -> list | None:
    """The sort values in a cursor of the list `scope`; None for the first page. Raises Invalid."""
    if cursor is None:
        return None
    try:
        body = _signer(_keys(), scope).unsign(cursor)
        _require_canonical_signature(cursor.rpartition(".")[2])
        return json.loads(base64.urlsafe_b64decode(body + b"=" * (-len(body) % 4)))
    except BadData:
        raise Invalid(errors={"cursor": ["Send the next_cursor of an earlier page of this very list."]}) from None


def _require_canonical_signature(signature):
    """The same bytes can be written in several ways; the one that was handed out counts. Raises BadData."""
    if base64_encode(base64_decode(signature)).decode() != signature:
        raise BadData("a signature that nobody wrote so")


def build_page(rows: list, limit: int, scope: str, key) -> dict:
    """One page from up to `limit` + 1 rows; `key(row)` gives the sort values of a row."""
    shown = rows[:limit]
    more = len(rows) > limit
    return {"items": shown, "next_cursor": encode_cursor(scope, key(shown[-1])) if more else None}


def paginate_list(rows: list, query: dict, scope: str, key) -> dict:
    """One page of a list that was read whole, in ascending order of `key`; without a limit, all that is left of it.

    `asked` is a loaded ShortListQuery.
    """
    after = decode_cursor(scope, query["cursor"])
    left = [row for row in rows if after is None or key(row) > after]
    total = {"total": len(rows)} if query["include_total"] else {}
    return build_page(left, query["limit"] or len(left), scope, key) | total


def paginate_query(select, column, query: dict, scope: str, descending: bool = True) -> dict:
    """One page of ORM rows in the order of `column` (unique, text), for lists that one account owns.

    `asked` is a loaded PageQuery. With `include_total` the page has `total`.
    """
    after = decode_cursor(scope, query["cursor"])
    kept = select
    if after:
        kept = kept.where(column < after[0] if descending else column > after[0])
    kept = kept.order_by(column.desc() if descending else column).limit(query["limit"] + 1)
    answer = build_page(db.session.scalars(kept).all(), query["limit"], scope, lambda row: [getattr(row, column.key)])
    if query["include_total"]:
        answer["total"] = db.session.scalar(sa.select(sa.func.count()).select_from(select.subquery()))
    return answer


def _keys() -> tuple[str, ...]:
    return current_app.extensions["settings"].secret_key


@lru_cache(maxsize=256)
def _signer(keys: tuple[str, ...], scope: str) -> Signer:
    return Signer(list(reversed(keys)), salt=f"cursor:{scope}")
