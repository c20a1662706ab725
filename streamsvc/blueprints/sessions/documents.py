"""The JSON of sessions, accounts and profiles, built from the row that authentication reads."""

from typing import Any

import msgspec
from flask import Response

from streamsvc import clock
from streamsvc.http.edge import json_response
from streamsvc.rules.sign_in.sessions import hash_token, impersonation_view
from streamsvc.rules.stores.account_ids import format_store_account_id
from streamsvc.rules.stores.sources import list_live, source_views
from streamsvc.security.csrf import compute_csrf_token
from streamsvc.security.viewers import Viewer, read_viewer_rows
from streamsvc.settings import current_settings


def current_session_view(viewer: Viewer) -> dict:
    """Return the JSON of `CurrentSession`."""
    row = viewer.row
    document = {"csrf_token": viewer.csrf_token} if viewer.csrf_token else {}
    return document | {
        "session": {
            "id": row.session_id,
            "device": {"id": row.device_id, "name": row.device_name, "kind": row.device_kind},
            "profile_id": row.selected_profile_id,
            "created_at": row.session_created_at,
            "authenticated_at": row.authenticated_at,
            "last_seen_at": row.last_seen_at,
            "expires_at": viewer.session_expires_at,
            "current": True,
        },
        "guest": viewer.is_guest,
        "account": account_view(row) | ({"email": None} if viewer.is_guest else {}),
        "profiles": [profile_view(profile) for profile in viewer.profiles],
        "profile": profile_view(viewer.profile) if viewer.profile else None,
        "subscription": subscription_summary(row),
        "entitlements": viewer.entitlements,
        "sources": list_sources(row),
        "impersonation": impersonation_view(row.impersonated_by, row.impersonation_reason),
    }


def account_view(row: Any) -> dict:
    """Return the JSON of `AccountOut`."""
    return {
        "id": row.account_id,
        "email": row.email,
        "email_verified": row.email_verified_at is not None,
        "name": row.account_name,
        "country": row.country,
        "time_zone": row.time_zone,
        "locale": row.locale,
        "created_at": row.account_created_at,
        "store_account_id": format_store_account_id(row.account_id),
    }


def profile_view(row: Any) -> dict:
    """Return the JSON of `ProfileOut`."""
    return {
        "id": row.profile_id,
        "name": row.profile_name,
        "avatar": row.avatar,
        "language": row.language,
        "kids": row.kids,
        "max_age": row.max_age,
        "autoplay": row.autoplay,
        "has_pin": row.has_pin,
    }


def subscription_summary(row: Any) -> dict | None:
    """Return the JSON of `LiveSubscription`, None without one. GET /v1/subscriptions has all fields.

    Of several, it is the one that we bill, else the oldest.
    """
    if row.subscription_id is None:
        return _store_subscription_summary(row)
    return {
        "id": row.subscription_id,
        "status": row.subscription_status,
        "plan": row.plan_code,
        "price_id": row.price_id,
        "period": {"start": row.period_start, "end": row.period_end},
        "trial_end": row.trial_end,
        "cancel_at": row.cancel_at,
        "paused_at": row.paused_at,
        "resumes_at": row.resumes_at,
    }


def _store_subscription_summary(row: Any) -> dict | None:
    live = list_live(row.store_access, clock.now()) if row.store_access else []
    if not live:
        return None
    access = live[0]
    start, end = access["period"]
    unset = dict.fromkeys(("price_id", "paused_at", "resumes_at"))
    return unset | {
        "id": access["id"],
        "status": access["status"],
        "plan": access["plan"],
        "period": {"start": start, "end": end},
        "trial_end": end if access["status"] == "trialing" else None,
        "cancel_at": None if access["renews"] else end,
    }


def list_sources(row: Any) -> list[dict]:
    """Return the JSON of `sources`: every live subscription, whoever bills it."""
    own = row.subscription_id and {
        "subscription_id": row.subscription_id,
        "source": row.subscription_source or current_settings().payment_provider,
        "status": row.subscription_status,
        "plan": row.plan_code,
        "until": row.access_until,
        "renews": row.cancel_at is None,
        "management_url": None,
    }
    return source_views(own or None, row.store_access or (), clock.now())


def sign_in_response(token: str, by_cookie: bool, trust: dict | None = None) -> Response:
    """Respond 201 with the token and its session, read in the transaction that creates the session.

    `trust` is `{token, until}` of a newly trusted device.
    """
    rows = read_viewer_rows(hash_token(token))
    viewer = Viewer(rows, compute_csrf_token(rows[0].session_id) if by_cookie else None)
    token_type = {"token_type": "DPoP"} if rows[0].dpop_jkt else {}
    tokens = {"token": token} | token_type | ({"device_trust": trust} if trust else {})
    return json_response(msgspec.json.encode(tokens | current_session_view(viewer)), 201)
