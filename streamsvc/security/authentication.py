"""Who is asking: a token becomes a viewer or an operator. Every endpoint is closed unless it says for whom it opens.

Viewers are found here, operators in operators.py.

Nothing is cached: a session that ended a moment ago, on whatever worker, is not found by the next request.
"""

import hmac
import logging
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import NoReturn

import sqlalchemy as sa
from blinker import Signal
from flask import current_app, g, request
from flask_login import LoginManager, UserMixin

from streamsvc import clock
from streamsvc.models import Account, Device, Profile, Session
from streamsvc.models.subscriptions import Plan, Subscription
from streamsvc.models.subscriptions.subscriptions import in_words
from streamsvc.rules.billing.access import LIVE
from streamsvc.rules.billing.entitlements import compute_entitlements
from streamsvc.rules.origins import is_cross_site
from streamsvc.rules.refusals.access import InsufficientScope, NotSignedIn, ReadOnlySession
from streamsvc.rules.refusals.accounts import CsrfTokenInvalid, KidsProfile, ReauthenticationRequired
from streamsvc.rules.refusals.base import Refusal
from streamsvc.rules.sign_in.passkeys import relying_party_and_origin
from streamsvc.rules.sign_in.sessions import (
    API_KEY_PREFIX,
    LAST_SEEN_GRAIN,
    OPERATOR_TOKEN_PREFIX,
    REAUTHENTICATION_WINDOW,
    SESSION_TOKEN_PREFIX,
    hash_token,
    session_expires_at,
)
from streamsvc.security import operators
from streamsvc.security.audit_context import set_audit_actor
from streamsvc.security.operators import Operator
from streamsvc.storage.compiled_statements import CompiledStatement
from streamsvc.storage.database import SAFE_METHODS, db, execute_write

COOKIE = "__Host-sst"
CSRF_HEADER = "X-CSRF-Token"


@dataclass(frozen=True)
class Access:
    """For whom a view opens: everybody, a viewer, an operator with the scope, any operator in person."""

    public: bool = False
    viewer: bool = False
    scope: str | None = None
    human_only: bool = False
    owner_only: bool = False
    """Of the viewers, only the account's owner: not support that looks on."""


VIEWER_ONLY = Access(viewer=True)


def public(view):
    """Mark a view that needs no token."""
    view.access = Access(public=True)
    return view


def operator_only(scope: str):
    """Mark a view for operators whose key or role has `scope` or `admin`."""
    return _set_access(Access(scope=scope))


def human_operator_only(view):
    """Mark a view for operators who signed in, whatever their role."""
    view.access = Access(human_only=True)
    return view


def owner_only(view):
    """Mark a view for viewers, but not for support that looks on in their place: payment methods, the whole record."""
    view.access = Access(viewer=True, owner_only=True)
    return view


def allow_kids(view):
    """Mark a view that is open while a kids' profile watches; where it is about a profile, for that one alone."""
    view.kids_too = True
    return view


def viewer_or_operator(scope: str):
    """Mark a view for viewers, and for operators whose key or role has `scope` or `admin`."""
    return _set_access(Access(viewer=True, scope=scope))


def _set_access(access):
    def mark(view):
        view.access = access
        return view

    return mark


class Viewer(UserMixin):
    """One consistent read of who watches: the session, its account, the profiles, the live subscription."""

    def __init__(self, rows, csrf_token: str | None = None):
        self.row = rows[0]
        self.rows = rows
        self.csrf_token = csrf_token
        """What unsafe requests must carry; None where no cookie is in play."""

    def get_id(self):
        return self.row.session_id

    @property
    def account_id(self) -> str:
        return self.row.account_id

    @cached_property
    def profile(self):
        """The row of the profile that is watching (`profile_…` columns), or None."""
        return next((r for r in self.rows if r.profile_id and r.profile_id == self.row.selected_profile_id), None)

    @cached_property
    def profiles(self) -> list:
        """The rows of the account's profiles, oldest first."""
        return [r for r in self.rows if r.profile_id]

    @cached_property
    def entitlements(self) -> dict:
        """What the live subscription allows now: see rules/billing/entitlements.py."""
        row = self.row
        return compute_entitlements(row.subscription_status, row.access_until, row.plan_code, row.features, clock.now())

    def reload(self) -> "Viewer":
        """The same viewer as the unit of work sees them now."""
        rows = db.session.execute(VIEWER_BY_TOKEN, {"token_hash": self.row.token_hash}).all()
        return Viewer(rows, self.csrf_token)

    @property
    def is_recently_authenticated(self) -> bool:
        """Whether the viewer proved who they are within the last ten minutes."""
        return clock.now() - self.row.authenticated_at <= REAUTHENTICATION_WINDOW

    @property
    def session_expires_at(self) -> datetime:
        return session_expires_at(self.row.lifetime, self.row.session_created_at, self.row.last_seen_at)


VIEWER_BY_TOKEN = (
    sa.select(
        Session.id.label("session_id"),
        Session.token_hash,
        Session.device_id,
        Session.lifetime,
        Session.epoch,
        Session.created_at.label("session_created_at"),
        Session.authenticated_at,
        Session.last_seen_at,
        Session.profile_id.label("selected_profile_id"),
        Session.impersonated_by,
        Session.impersonation_reason,
        Device.name.label("device_name"),
        Device.kind.label("device_kind"),
        Account.id.label("account_id"),
        Account.email,
        Account.email_verified_at,
        Account.name.label("account_name"),
        Account.country,
        Account.time_zone,
        Account.locale,
        Account.created_at.label("account_created_at"),
        Profile.id.label("profile_id"),
        Profile.name.label("profile_name"),
        Profile.avatar,
        Profile.language,
        Profile.kids,
        Profile.max_age,
        Profile.autoplay,
        (Profile.pin_hash.is_not(None)).label("has_pin"),
        Subscription.id.label("subscription_id"),
        Subscription.status.label("subscription_status"),
        Subscription.price_id,
        Subscription.access_until,
        Subscription.period_start,
        Subscription.period_end,
        Subscription.trial_end,
        Subscription.cancel_at,
        Subscription.paused_at,
        Subscription.resumes_at,
        Plan.code.label("plan_code"),
        Plan.features,
    )
    .join(Account, sa.and_(Account.id == Session.account_id, Account.status == "active"))
    .join(Device, Device.id == Session.device_id)
    .outerjoin(Profile, Profile.account_id == Account.id)
    .outerjoin(
        Subscription,
        sa.and_(Subscription.account_id == Account.id, in_words("subscriptions.status", LIVE)),
    )
    .outerjoin(Plan, Plan.id == Subscription.plan_id)
    .where(Session.token_hash == sa.bindparam("token_hash"), Session.ended_at.is_(None))
    .order_by(Profile.id)
)
COMPILED_VIEWER_BY_TOKEN = CompiledStatement(VIEWER_BY_TOKEN)
UPDATE_LAST_SEEN = (
    sa.update(Session)
    .where(Session.id == sa.bindparam("session_id"), Session.last_seen_at < sa.bindparam("now"))
    .values(last_seen_at=sa.bindparam("now"))
)

login_manager = LoginManager()
log = logging.getLogger("streamsvc.security")
authz_failed = Signal()
"""Sent with who has a good token and is turned away all the same (a Viewer or an Operator), and the `reason`."""


@login_manager.request_loader
def load_principal(request):
    """The viewer or operator whose live token the request carries, else None. A header goes before a cookie."""
    if "Authorization" in request.headers:
        scheme, _, token = request.headers["Authorization"].partition(" ")
        token = token.strip() if scheme.lower() == "bearer" else ""
        if token.startswith(API_KEY_PREFIX):
            return operators.find_operator_by_key(token)
        if token.startswith(OPERATOR_TOKEN_PREFIX):
            return operators.find_operator_by_session(token)
        return _find_viewer(token) if token.startswith(SESSION_TOKEN_PREFIX) else None
    token = request.cookies.get(COOKIE, "")
    return _find_viewer(token, by_cookie=True) if token.startswith(SESSION_TOKEN_PREFIX) else None


def _find_viewer(token: str, by_cookie: bool = False) -> Viewer | None:
    rows = COMPILED_VIEWER_BY_TOKEN.all(token_hash=hash_token(token))
    if not rows:
        return None
    found, now = Viewer(rows, compute_csrf_token(rows[0].session_id) if by_cookie else None), clock.now()
    if found.row.epoch < current_app.extensions["settings"].session_epoch or found.session_expires_at <= now:
        return None
    if now - found.row.last_seen_at > LAST_SEEN_GRAIN:
        execute_write(UPDATE_LAST_SEEN, {"session_id": found.row.session_id, "now": now})
    return found


def compute_csrf_token(session_id: str, key: str | None = None) -> str:
    """What a page of ours can read and send along, and a page of somebody else cannot.

    Bound to the session, by the service's secret: it stays when the session is given a new token.
    """
    key = key or current_app.extensions["settings"].secret_key[0]
    return hmac.digest(key.encode(), f"csrf {session_id}".encode(), "sha256").hex()


def current_principal() -> Viewer | Operator | None:
    """Who asks; None in a view that is open to everybody, whatever token came along."""
    return g.get("_login_user")


def current_viewer() -> Viewer:
    """Who watches; only in views that open for viewers."""
    return g._login_user


def current_operator() -> Operator | None:
    """The operator that asks, or None where a viewer does."""
    found = current_principal()
    return found if isinstance(found, Operator) else None


def require_recent_authentication() -> None:
    """Raises ReauthenticationRequired unless the viewer proved who they are within the last ten minutes."""
    if not current_viewer().is_recently_authenticated:
        raise ReauthenticationRequired


def _check_access():
    """Close every view to everybody whom it does not name."""
    view = current_app.view_functions.get(request.endpoint)
    access = getattr(view, "access", VIEWER_ONLY)
    if view is None or access.public:
        return
    who = load_principal(request)
    login_manager._update_request_context_with_user(who)
    if isinstance(who, Operator):
        set_audit_actor(who.id)
        _check_operator(who, access)
    elif not (isinstance(who, Viewer) and access.viewer):
        raise NotSignedIn(presented="Authorization" in request.headers)
    elif who.row.impersonated_by and (access.owner_only or request.method not in SAFE_METHODS):
        _deny(who, "support only looks on", ReadOnlySession())
    elif who.csrf_token and request.method not in SAFE_METHODS:
        _check_csrf(who)
    if isinstance(who, Viewer) and who.profile and who.profile.kids:
        _check_kids_profile(who, view, access)


def _check_kids_profile(viewer: Viewer, view, access: Access) -> None:
    """While a kids' profile watches: what it watches, and nothing of the account, its money or the other profiles.

    Raises KidsProfile; not for somebody who proved just now that they are the account's owner.
    """
    mine = viewer.profile.profile_id
    about_itself = (request.view_args or {}).get("profile_id", mine) == mine
    reaches = access.scope == "catalog" or (getattr(view, "kids_too", False) and about_itself)
    if not reaches and not viewer.is_recently_authenticated:
        _deny(viewer, "a kids' profile watches", KidsProfile())


def _check_operator(operator: Operator, access: Access) -> None:
    if access.human_only and operator.session:
        return
    if access.scope is None:
        raise NotSignedIn(presented=True)
    if not operator.has_scope(access.scope, write=request.method not in SAFE_METHODS):
        _deny(operator, f"lacks the scope {access.scope}", InsufficientScope(access.scope))


def _check_csrf(viewer: Viewer) -> None:
    settings, headers = current_app.extensions["settings"], request.headers
    own_hosts = {request.host.lower(), relying_party_and_origin(settings.public_url)[1].partition("://")[2]}
    if is_cross_site(headers.get("Sec-Fetch-Site"), headers.get("Origin"), own_hosts):
        refusal = CsrfTokenInvalid(detail="A page of another site may change nothing by this cookie.")
        _deny(viewer, "another site's page used the cookie", refusal)
    sent = headers.get(CSRF_HEADER, "").encode()
    good = (compute_csrf_token(viewer.row.session_id, key) for key in settings.secret_key)
    if not any(hmac.compare_digest(sent, each.encode()) for each in good):
        _deny(viewer, "no good CSRF token", CsrfTokenInvalid())


def _deny(principal: Viewer | Operator, reason: str, refusal: Refusal) -> NoReturn:
    log.warning("authz_fail: %s at %s: %s", principal.get_id(), request.endpoint, reason)
    authz_failed.send(principal, reason=reason)
    raise refusal


def init_app(app) -> None:
    login_manager.session_protection = None  # sessions are rows here, not Flask's cookie
    login_manager.init_app(app)
    app.before_request(_check_access)
