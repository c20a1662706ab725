"""Authenticates viewers by the tokens of their sessions.

Nothing is cached: a session that has ended is rejected by the next request, on any worker.
"""

import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

import sqlalchemy as sa
from flask import current_app, request
from flask_login import UserMixin

from streamsvc import clock
from streamsvc.models import Account, Device, Profile, Session
from streamsvc.models.accounts import GUEST
from streamsvc.models.sessions import CURRENT_SERVICE_EPOCH
from streamsvc.models.subscriptions import Plan, Subscription
from streamsvc.models.subscriptions.subscriptions import status_condition
from streamsvc.rules.billing.access import LIVE_STATUSES
from streamsvc.rules.rate_limits import SESSION_USES
from streamsvc.rules.refusals.access import DpopProofRequired
from streamsvc.rules.sign_in.sessions import (
    LAST_SEEN_GRAIN,
    LAST_SEEN_SHARE,
    REAUTHENTICATION_WINDOW,
    guest_session_expires_at,
    hash_token,
    session_expires_at,
)
from streamsvc.security.access import View
from streamsvc.security.csrf import compute_csrf_token
from streamsvc.security.entitlements import compute_account_entitlements
from streamsvc.security.joined_reads import JoinedRead
from streamsvc.security.local_rate_limits import LocalRateLimits
from streamsvc.settings import current_settings
from streamsvc.storage.compiled_statements import CompiledStatement
from streamsvc.storage.database import db, execute_write
from streamsvc.storage.durability import Relaxed


class Viewer(UserMixin):
    """An authenticated viewer, from one consistent read: the session, its account, profiles and live subscription."""

    def __init__(self, rows: Sequence[Any], csrf_token: str | None = None, joined: Any | None = None):
        self.row = rows[0]
        self.rows = rows
        self.joined = joined
        """The row that the view reads with the viewer; None for other views. See joined_reads.py."""
        self.csrf_token = csrf_token
        """The token that unsafe requests must carry; None for a session without a cookie."""
        self.profiles = [row for row in rows if row.profile_id]
        """The rows of the account's profiles, oldest first."""
        selected = self.row.selected_profile_id
        self.profile = next((row for row in self.profiles if row.profile_id == selected), None) if selected else None
        """The row of the selected profile (`profile_…` columns), or None."""

    def get_id(self) -> str:
        return self.row.session_id

    @property
    def account_id(self) -> str:
        return self.row.account_id

    @property
    def is_guest(self) -> bool:
        return self.row.account_status == GUEST

    @cached_property
    def entitlements(self) -> dict:
        """What the live subscriptions currently allow: see rules/billing/entitlements.py."""
        row = self.row
        depends_on_time = row.access_until or row.addon_grants or row.included_addons or row.store_access
        return compute_account_entitlements(row, clock.account_now(row.account_id) if depends_on_time else clock.now())

    def reload(self) -> "Viewer":
        """Return the same viewer as seen by the current transaction."""
        return Viewer(read_viewer_rows(self.row.token_hash), self.csrf_token)

    @property
    def is_recently_authenticated(self) -> bool:
        """Whether the viewer authenticated within the last ten minutes."""
        return clock.now() - self.row.authenticated_at <= REAUTHENTICATION_WINDOW

    def has_entered_pin_of(self, profile_id: str) -> bool:
        """Whether the profile is selected and its PIN was entered within the last ten minutes."""
        if self.row.selected_profile_id != profile_id or self.row.pin_verified_at is None:
            return False
        return clock.now() - self.row.pin_verified_at <= REAUTHENTICATION_WINDOW

    @property
    def session_expires_at(self) -> datetime:
        if self.is_guest:
            idle = timedelta(days=current_settings().guest_idle_days)
            return guest_session_expires_at(self.row.session_created_at, self.row.last_seen_at, idle)
        return session_expires_at(self.row.lifetime, self.row.session_created_at, self.row.last_seen_at)


VIEWER_BY_TOKEN = (
    sa.select(
        Session.id.label("session_id"),
        Session.token_hash,
        Session.device_id,
        Session.lifetime,
        Session.epoch,
        Session.dpop_jkt,
        Session.created_at.label("session_created_at"),
        Session.authenticated_at,
        Session.last_seen_at,
        Session.profile_id.label("selected_profile_id"),
        Session.pin_verified_at,
        Session.impersonated_by,
        Session.impersonation_reason,
        Device.name.label("device_name"),
        Device.kind.label("device_kind"),
        Account.id.label("account_id"),
        Account.status.label("account_status"),
        Account.email,
        Account.email_verified_at,
        Account.name.label("account_name"),
        Account.country,
        Account.time_zone,
        Account.locale,
        Account.created_at.label("account_created_at"),
        Account.store_access,
        Profile.id.label("profile_id"),
        Profile.name.label("profile_name"),
        Profile.avatar,
        Profile.language,
        Profile.kids,
        Profile.max_age,
        Profile.autoplay,
        Profile.restrictions,
        (Profile.pin_hash.is_not(None)).label("has_pin"),
        Subscription.id.label("subscription_id"),
        Subscription.status.label("subscription_status"),
        Subscription.source.label("subscription_source"),
        Subscription.price_id,
        Subscription.access_until,
        Subscription.started_on,
        Subscription.period_start,
        Subscription.period_end,
        Subscription.trial_end,
        Subscription.cancel_at,
        Subscription.paused_at,
        Subscription.resumes_at,
        Subscription.addon_grants,
        Plan.code.label("plan_code"),
        Plan.features,
        Plan.includes.label("included_addons"),
    )
    .join(
        # Literals: with a parameter for a column of a partial index, SQLite would plan the query at each execution.
        Account,
        sa.and_(Account.id == Session.account_id, status_condition("accounts.status", ("active", GUEST))),
    )
    .join(Device, Device.id == Session.device_id)
    .outerjoin(Profile, sa.and_(Profile.account_id == Account.id, *Profile.visible_conditions()))
    .outerjoin(
        Subscription,
        sa.and_(Subscription.account_id == Account.id, status_condition("subscriptions.status", LIVE_STATUSES)),
    )
    .outerjoin(Plan, Plan.id == Subscription.plan_id)
    .where(
        Session.token_hash == sa.bindparam("token_hash"),
        Session.ended_at.is_(None),
        Session.service_epoch >= CURRENT_SERVICE_EPOCH,
    )
    .order_by(Profile.id)
)
COMPILED_VIEWER_BY_TOKEN = CompiledStatement(VIEWER_BY_TOKEN)
UPDATE_LAST_SEEN = (
    sa.update(Session)
    .where(Session.id == sa.bindparam("session_id"), Session.last_seen_at < sa.bindparam("now"))
    .values(last_seen_at=sa.bindparam("now"))
)


def read_viewer_rows(token_hash: str) -> list[Any]:
    """Return the rows of a session's viewer as seen by the current transaction."""
    db.session.flush()
    return COMPILED_VIEWER_BY_TOKEN.run_in(db.session.connection(), token_hash=token_hash)


def find_viewer(token: str, by_cookie: bool = False, is_proved: bool = False) -> Viewer | None:
    """Find the viewer of a session's token, and record that the session is in use; None if it does not count.

    Raises DpopProofRequired for a session that is bound to a key, unless the request proves that it has the key.
    """
    viewer, now = find_live_viewer(token, by_cookie), clock.now()
    if viewer is None or (viewer.is_guest and not current_settings().guests):
        return None
    if viewer.row.dpop_jkt is not None and not is_proved:
        raise DpopProofRequired("invalid_token")
    if _is_use_to_record(viewer, now, counts=True):
        execute_write(UPDATE_LAST_SEEN, {"session_id": viewer.row.session_id, "now": now}, Relaxed.SESSION_USE)
    return viewer


def find_ordinary_viewer(token: str, view: View, view_args: Mapping[str, Any]) -> Viewer | None:
    """Find the viewer of a bearer token whose use needs neither a further check nor a write.

    None for guests, support staff who are impersonating, sessions bound to a key, and those whose use must be recorded,
    as for a token that is not valid: the usual way decides.
    """
    now = clock.now()
    viewer = _read_live_viewer(token, view, view_args, now)
    if viewer is None or viewer.is_guest or viewer.row.impersonated_by or viewer.row.dpop_jkt is not None:
        return None
    return None if _is_use_to_record(viewer, now, counts=False) else viewer


def find_live_viewer(token: str, by_cookie: bool) -> Viewer | None:
    """Find the viewer of a session that has neither ended nor expired."""
    view = current_app.view_functions.get(request.endpoint or "")
    viewer = _read_live_viewer(token, view, request.view_args or {}, clock.now())
    if viewer is not None and by_cookie:
        viewer.csrf_token = compute_csrf_token(viewer.row.session_id)
    return viewer


def _read_live_viewer(token: str, view: View, view_args: Mapping[str, Any], now: datetime) -> Viewer | None:
    """Read the viewer of a live session, and with it what the view names by `reads_with_viewer`."""
    choose, token_hash = getattr(view, "joined_read", None), hash_token(token)
    read: JoinedRead | None = choose(**view_args) if choose else None
    if read is None:
        rows = COMPILED_VIEWER_BY_TOKEN.all(token_hash=token_hash)
    else:
        rows = read.join(VIEWER_BY_TOKEN).all(token_hash=token_hash, now=now, **view_args)
    if not rows or rows[0].epoch < current_settings().session_epoch:
        return None
    viewer = Viewer(rows, joined=read.row_of(rows[0]) if read else None)
    return None if viewer.session_expires_at <= now + clock.set_back_by() else viewer


def _is_use_to_record(viewer: Viewer, now: datetime, *, counts: bool) -> bool:
    """Whether this request must record that the session is in use. `counts`: whether it will, if it must.

    If many sessions are used for the first time in a while, as every evening, not all can be recorded at once: a
    session whose turn it is not is recorded at one of its next requests, so that it expires little earlier at most.
    """
    unrecorded = now - viewer.row.last_seen_at
    if unrecorded <= LAST_SEEN_GRAIN:
        return False
    lifetime = viewer.session_expires_at - viewer.row.last_seen_at
    limits: LocalRateLimits = current_app.extensions["local_rate_limits"]
    has_turn = limits.try_hit if counts else limits.test
    return unrecorded > lifetime * LAST_SEEN_SHARE or has_turn(SESSION_USES, "", time.monotonic())
