"""Bare WSGI: a plain WSGI function with sqlite3, without a framework."""

import json
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qsl

from bench.peers.viewer import (
    DATABASE,
    DEFAULT_LIMIT,
    MAX_LIMIT,
    NO_AGE_LIMIT,
    PAYMENT_PROVIDER,
    PRAGMAS,
    SORTS,
    card_locales,
    current_time,
    decide_title,
    encode_cursor,
    format_utc,
    hash_bearer_token,
    viewer_facts,
)
from streamsvc.rules.billing.entitlements import compute_entitlements
from streamsvc.rules.sign_in.sessions import impersonation_view, session_expires_at
from streamsvc.rules.stores.account_ids import format_store_account_id

SQL = Path(__file__).parent / "sql"
SESSION, LIST, TITLE = ((SQL / f"{name}.sql").read_text() for name in ("session", "list", "title"))
ORDERS = {"-added": "f.title_pk DESC", "-popularity": "f.rank DESC", "title": "f.sort_title, f.title_pk"}
POSITIONS = {"-added": ("title_pk",), "-popularity": ("rank",), "title": ("sort_title", "title_pk")}
GENRE = "SELECT pk FROM facets WHERE kind = 'genre' AND code = ?"
WINDOWS = "SELECT position, country, starts_at, ends_at FROM title_windows WHERE title_pk = ?"
PLANS = "SELECT plan_code FROM title_plans WHERE title_pk = ?"
RATINGS = "SELECT country, label, min_age FROM title_age_ratings WHERE title_pk = ?"
LISTS = {sort: LIST.format(order=order) for sort, order in ORDERS.items()}
STATUSES = {200: "200 OK", 401: "401 Unauthorized", 404: "404 Not Found", 422: "422 Unprocessable Content"}
TITLES = "/v1/catalog/titles"
_connections: list[sqlite3.Connection] = []


class Refusal(Exception):
    """A status other than 200."""


def connect() -> sqlite3.Connection:
    """Return this process's connection: a sync worker has one thread."""
    if not _connections:
        connection = sqlite3.connect(DATABASE, isolation_level=None)
        connection.row_factory = sqlite3.Row
        for pragma in PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")
        _connections.append(connection)
    return _connections[0]


def app(environ, start_response):
    """Serve the three reads."""
    status, body = 200, "{}"
    try:
        body = answer(environ["PATH_INFO"], environ.get("QUERY_STRING", ""), environ.get("HTTP_AUTHORIZATION"))
    except Refusal as refusal:
        status = refusal.args[0]
    content = body.encode()
    start_response(STATUSES[status], [("Content-Type", "application/json"), ("Content-Length", str(len(content)))])
    return [content]


def answer(path: str, query: str, authorization: str | None) -> str:
    """Return the JSON of a response. Raises Refusal."""
    now = current_time()
    rows = connect().execute(SESSION, {"token_hash": hash_bearer_token(authorization)}).fetchall()
    if not rows:
        raise Refusal(401)
    row = rows[0]
    created_at, last_seen_at = parse_time(row["created_at"]), parse_time(row["last_seen_at"])
    expires_at = session_expires_at(row["lifetime"], created_at, last_seen_at)
    if expires_at <= now:
        raise Refusal(401)
    features = row["features"] and json.loads(row["features"])
    entitlements = compute_entitlements(row["status"], parse_time(row["access_until"]), row["plan"], features, now)
    for name in ("store_access", "addon_grants", "includes"):
        if row[name] not in (None, "null", "[]"):
            raise NotImplementedError(name)
    if any(each["restrictions"] not in (None, "null") for each in rows):
        raise NotImplementedError("restrictions")
    if path == "/v1/sessions/current":
        return json.dumps(session_document(rows, expires_at, entitlements), default=format_utc, separators=(",", ":"))
    profiles = [each for each in rows if each["profile_id"]]
    selected = [each for each in profiles if each["profile_id"] == row["selected_profile_id"]]
    limits = [(each["max_age"], bool(each["kids"])) for each in selected or profiles]
    facts = viewer_facts(row["country"], entitlements, limits, bool(selected))
    locales = card_locales(selected[0]["language"] if selected else row["locale"])
    if path == TITLES:
        return list_titles(dict(parse_qsl(query)), facts, locales, now)
    if path.startswith(TITLES + "/"):
        return get_title(path.removeprefix(TITLES + "/"), facts, locales, now)
    raise Refusal(404)


def session_document(rows: list[sqlite3.Row], expires_at: datetime, entitlements: dict) -> dict:
    row = rows[0]
    profiles = [profile_document(each) for each in rows if each["profile_id"]]
    return {
        "session": {
            "id": row["session_id"],
            "device": {"id": row["device_id"], "name": row["device_name"], "kind": row["device_kind"]},
            "profile_id": row["selected_profile_id"],
            "created_at": parse_time(row["created_at"]),
            "authenticated_at": parse_time(row["authenticated_at"]),
            "last_seen_at": parse_time(row["last_seen_at"]),
            "expires_at": expires_at,
            "current": True,
        },
        "guest": False,
        "account": {
            "id": row["account_id"],
            "email": row["email"],
            "email_verified": row["email_verified_at"] is not None,
            "name": row["account_name"],
            "country": row["country"],
            "time_zone": row["time_zone"],
            "locale": row["locale"],
            "created_at": parse_time(row["account_created_at"]),
            "store_account_id": format_store_account_id(row["account_id"]),
        },
        "profiles": profiles,
        "profile": next((each for each in profiles if each["id"] == row["selected_profile_id"]), None),
        "subscription": subscription_document(row),
        "entitlements": entitlements,
        "sources": source_documents(row),
        "impersonation": impersonation_view(row["impersonated_by"], row["impersonation_reason"]),
    }


def profile_document(row: sqlite3.Row) -> dict:
    return {
        "id": row["profile_id"],
        "name": row["profile_name"],
        "avatar": row["avatar"],
        "language": row["language"],
        "kids": bool(row["kids"]),
        "max_age": row["max_age"],
        "autoplay": bool(row["autoplay"]),
        "has_pin": bool(row["has_pin"]),
    }


def subscription_document(row: sqlite3.Row) -> dict | None:
    return row["subscription_id"] and {
        "id": row["subscription_id"],
        "status": row["status"],
        "plan": row["plan"],
        "price_id": row["price_id"],
        "period": {"start": row["period_start"], "end": row["period_end"]},
        "trial_end": row["trial_end"],
        "cancel_at": row["cancel_at"],
        "paused_at": parse_time(row["paused_at"]),
        "resumes_at": parse_time(row["resumes_at"]),
    }


def source_documents(row: sqlite3.Row) -> list[dict]:
    own = row["subscription_id"] and {
        "subscription_id": row["subscription_id"],
        "source": row["source"] or PAYMENT_PROVIDER,
        "status": row["status"],
        "plan": row["plan"],
        "until": parse_time(row["access_until"]),
        "renews": row["cancel_at"] is None,
        "management_url": None,
    }
    return [own] if own else []


def list_titles(query: dict[str, str], facts, locales: list[str], now: datetime) -> str:
    """Return a first page of a genre, of stored cards."""
    sort, genre, limit = query.get("sort", "-added"), query.get("genre", ""), query.get("limit", str(DEFAULT_LIMIT))
    if sort not in SORTS or not limit.isdecimal() or not 1 <= int(limit) <= MAX_LIMIT:
        raise Refusal(422)
    facet = connect().execute(GENRE, (genre,)).fetchone()
    if facet is None:
        raise Refusal(422)
    parameters = locale_parameters(locales) | {
        "facet_pk": facet["pk"],
        "country": facts.country,
        "max_age": NO_AGE_LIMIT if facts.max_age is None else facts.max_age,
        "plans": json.dumps(facts.plans) if facts.subscribed else None,
        "now": format_time(now),
        "limit": int(limit) + 1,
    }
    rows = connect().execute(LISTS[sort], parameters).fetchall()
    cards = [rated_card(row["card"], row, facts.country) for row in rows[: int(limit)]]
    cursor = "null"
    if len(rows) > int(limit):
        last = rows[int(limit) - 1]
        cursor = f'"{encode_cursor(sort, genre, [last[name] for name in POSITIONS[sort]])}"'
    return f'{{"items":[{",".join(cards)}],"next_cursor":{cursor}}}'


def get_title(title_id: str, facts, locales: list[str], now: datetime) -> str:
    """Return a title's stored card and detail, and its availability."""
    row = connect().execute(TITLE, locale_parameters(locales) | {"id": title_id}).fetchone()
    if row is None:
        raise Refusal(404)
    windows = list_windows(row) if row["windowed"] else None
    plans = [each["plan_code"] for each in select_parts(PLANS, row)] if row["plan_limited"] else None
    ratings = select_parts(RATINGS, row) if row["rated_per_country"] else []
    min_ages = [(rating["country"], rating["min_age"]) for rating in ratings]
    decision = decide_title(facts, now, row["min_age"], windows, plans, min_ages)
    if decision.hidden:
        raise Refusal(404)
    if row["has_extras"]:
        raise NotImplementedError("extras")
    card = row["card"]
    for rating in ratings:
        if rating["country"] == facts.country:
            card = rate_card(card, rating, facts.country)
    availability = {
        "playable": decision.playable,
        "reason": decision.reason,
        "starts_at": format_utc(decision.starts_at),
        "ends_at": format_utc(decision.ends_at),
    }
    return f'{card[:-1]},{row["detail"][1:-1]},"availability":{json.dumps(availability)}}}'


def list_windows(title: sqlite3.Row) -> list[tuple[int, str, datetime | None, datetime | None]]:
    rows = select_parts(WINDOWS, title)
    return [(*row[:2], parse_time(row["starts_at"]), parse_time(row["ends_at"])) for row in rows]


def select_parts(statement: str, title: sqlite3.Row) -> list[sqlite3.Row]:
    return connect().execute(statement, (title["pk"],)).fetchall()


def locale_parameters(locales: list[str]) -> dict[str, str]:
    return {"language": locales[0], "base_language": locales[-2] if len(locales) > 1 else ""}


def rated_card(card: str, row: sqlite3.Row, country: str) -> str:
    return rate_card(card, row, country) if row["is_rated_here"] else card


def rate_card(card: str, rating: sqlite3.Row, country: str) -> str:
    """Return a card with the rating of the viewer's country."""
    shown = {"system": country, "label": rating["label"], "min_age": rating["min_age"]}
    return json.dumps(json.loads(card) | {"age_rating": shown}, separators=(",", ":"), ensure_ascii=False)


def parse_time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text).replace(tzinfo=UTC) if text else None


def format_time(moment: datetime) -> str:
    """Return a time as the database has it."""
    return f"{moment:%Y-%m-%d %H:%M:%S.%f}"
