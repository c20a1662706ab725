"""A profile's own rows as pages of JSON."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import msgspec
import sqlalchemy as sa

from streamsvc.http import pagination
from streamsvc.models.catalog.visibility import encode_codes
from streamsvc.operations.catalog.reading import version
from streamsvc.operations.catalog.reading.audience import Audience
from streamsvc.operations.catalog.reading.part_texts import localized_text
from streamsvc.operations.catalog.reading.shown_cards import shown_cards
from streamsvc.operations.playback.live_items import list_hidden_live_items
from streamsvc.operations.playback.policy import progress_policy
from streamsvc.operations.playback.reports import progress_view
from streamsvc.operations.playback.row_statements import COUNT_KEY, PLAYS
from streamsvc.rules.inputs import PageInput
from streamsvc.rules.playback.inputs import PlaysInput
from streamsvc.settings import current_settings
from streamsvc.storage.database import fetch_all, fetch_existing


def profile_row_json(
    statements: dict,
    name: str,
    profile_id: str,
    audience: Audience,
    query: PageInput,
    now: datetime,
    item_view: Callable[..., object],
) -> bytes:
    """Return a page of one of the rows as JSON; `item_view(row, card, language)` returns an item. Raises Invalid."""
    scope = f"{name}:{profile_id}"
    after = pagination.decode_cursor(scope, query["cursor"])
    policy = progress_policy()
    parameters = (
        audience.sql_parameters()
        | _page_parameters(query, after)
        | {
            "profile_id": profile_id,
            "since": shown_since(now),
            "today": now.date(),
            "resume_after_s": policy.resume_after_s,
            "resume_after_percent": policy.resume_after_percent,
            "with_specials": current_settings().next_up_specials == "last",
        }
    )
    rows = fetch_all(statements[audience.visibility][after is not None], parameters)
    page = pagination.build_page(rows, query["limit"], scope, lambda row: [row.sorted_at.isoformat(), row.sorted_id])
    cards = shown_cards(page["items"], audience, version.load_snapshot(version.current_catalog_version()))
    page["items"] = [
        item_view(row, msgspec.Raw(card.encode()), audience.language)
        for row, card in zip(page["items"], cards, strict=True)
    ]
    if query["include_total"]:
        page |= pagination.total_members(fetch_existing(statements[audience.visibility][COUNT_KEY], parameters)[0])
    return msgspec.json.encode(page)


def shown_since(now: datetime) -> datetime:
    """Return the time since when something must have happened for an item to be in a profile's rows."""
    return now - timedelta(days=progress_policy().continue_watching_days)


def _page_parameters(query: PageInput, after: list | None) -> dict:
    """Return the parameters of a page; `after` is the position of the decoded cursor."""
    at, item_id = (datetime.fromisoformat(after[0]), after[1]) if after else (None, None)
    return {"limit": query["limit"] + 1, "after_at": at, "after_id": item_id}


def watched_item_view(row: sa.Row, card: object, language: str | None) -> dict:
    """Return an item of "Continue watching"."""
    episode = _episode_view(row, language)
    return {"item_id": row.item_id, "title": card, "episode": episode, "progress": progress_view(row)}


def history_item_view(row: sa.Row, card: object, language: str | None) -> dict:
    """Return an item of the history."""
    return watched_item_view(row, card, language) | {"plays": {"starts": row.starts, "completions": row.completions}}


def next_item_view(row: sa.Row, card: object, language: str | None) -> dict:
    """Return an item of "Next up"."""
    return {"item_id": row.episode_id, "title": card, "episode": _episode_view(row, language), "progress": None}


def watchlist_item_view(row: sa.Row, card: object, language: str | None) -> dict:
    """Return an item of the watchlist."""
    return {"item_id": row.sorted_id, "title": card, "added_at": row.added_at}


def _episode_view(row: Any, language: str | None) -> dict | None:
    if row.episode_id is None:
        return None
    return {
        "id": row.episode_id,
        "season": row.episode_season,
        "number": row.episode_number,
        "title": localized_text(row.episode_localizations, language, "title") or row.episode_title,
        "runtime_s": row.episode_runtime_s,
    }


def list_plays(profile_id: str, audience: Audience, query: PlaysInput) -> dict:
    """Return a page of the profile's plays, latest first, as in PlayPage. Raises Invalid."""
    scope = f"plays:{profile_id}:{query['item_id']}"
    after = pagination.decode_cursor(scope, query["cursor"])
    parameters = audience.sql_parameters() | _page_parameters(query, after)
    hidden = list_hidden_live_items(profile_id, audience.facts)
    parameters |= {"profile_id": profile_id, "item_id": query["item_id"], "hidden_items": encode_codes(hidden)}
    statements = PLAYS[audience.visibility]
    rows = fetch_all(statements[after is not None], parameters)
    page = pagination.build_page(rows, query["limit"], scope, lambda row: [row.sorted_at.isoformat(), row.sorted_id])
    if query["include_total"]:
        page |= pagination.total_members(fetch_existing(statements[COUNT_KEY], parameters)[0])
    return page
