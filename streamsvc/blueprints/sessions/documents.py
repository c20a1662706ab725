"""The answer to "who is this, and what may they do?": built from one read, plain and fast."""

import msgspec
from flask import Response

from streamsvc.http.edge import json_response
from streamsvc.rules.sign_in.sessions import hash_token, impersonation_view
from streamsvc.security.authentication import VIEWER_BY_TOKEN, Viewer, compute_csrf_token
from streamsvc.storage.database import db


def current_session_view(viewer: Viewer) -> dict:
    """The document of schemas/sessions/sessions.py `CurrentSession`."""
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
        "account": account_view(row),
        "profiles": [profile_view(each) for each in viewer.profiles],
        "profile": profile_view(viewer.profile) if viewer.profile else None,
        "subscription": subscription_summary(row),
        "entitlements": viewer.entitlements,
        "impersonation": impersonation_view(row.impersonated_by, row.impersonation_reason),
    }


def account_view(row) -> dict:
    return {
        "id": row.account_id,
        "email": row.email,
        "email_verified": row.email_verified_at is not None,
        "name": row.account_name,
        "country": row.country,
        "time_zone": row.time_zone,
        "locale": row.locale,
        "created_at": row.account_created_at,
    }


def profile_view(row) -> dict:
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


def subscription_summary(row) -> dict | None:
    """The live subscription in short; GET /v1/subscriptions tells the rest."""
    if row.subscription_id is None:
        return None
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


def sign_in_response(token: str, by_cookie: bool, trust: dict | None = None) -> Response:
    """201 with the token and who it stands for, read within the unit of work that makes the session.

    `trust`: {token, until} of a device that is trusted from now on.
    """
    rows = db.session.execute(VIEWER_BY_TOKEN, {"token_hash": hash_token(token)}).all()
    viewer = Viewer(rows, compute_csrf_token(rows[0].session_id) if by_cookie else None)
    told = {"token": token} | ({"device_trust": trust} if trust else {})
    return json_response(msgspec.json.encode(told | current_session_view(viewer)), 201)
