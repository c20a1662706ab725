"""Authentication: resolves a request's token to a Viewer or an Operator.

Every endpoint is closed unless its view states who may use it. Viewers are loaded here, operators in operators.py.
Nothing is cached: a session that has ended is rejected by the next request, on any worker.
"""

import hmac
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, NoReturn

import sqlalchemy as sa
from blinker import Signal
from flask import Flask, Request, current_app, g, has_request_context, request
from flask_login import LoginManager, UserMixin
from sqlalchemy import event, orm

from streamsvc import clock
from streamsvc.models import Account, Device, Profile, Session
from streamsvc.models.accounts import GUEST
from streamsvc.models.sessions import CURRENT_SERVICE_EPOCH
from streamsvc.models.subscriptions import Plan, Subscription
from streamsvc.models.subscriptions.subscriptions import status_condition
from streamsvc.rules.billing.access import LIVE_STATUSES
from streamsvc.rules.billing.entitlements import compute_entitlements, parse_grants
from streamsvc.rules.origins import is_cross_site
from streamsvc.rules.rate_limits import CATALOG_READS, MINUTE_S, SESSION_USES, RateLimit, source_network
from streamsvc.rules.refusals.access import (
    DpopNonceRequired,
    DpopProofInvalid,
    DpopProofRequired,
    InsufficientScope,
    NotSignedIn,
    ReadOnlySession,
    SignUpRequired,
)
from streamsvc.rules.refusals.accounts import CsrfTokenInvalid, KidsProfile, ReauthenticationRequired
from streamsvc.rules.refusals.base import Refusal
from streamsvc.rules.request_facts import GuestSession
from streamsvc.rules.sign_in.dpop import NonceRequired, ProofInvalid
from streamsvc.rules.sign_in.passkeys import relying_party_and_origin
from streamsvc.rules.sign_in.sessions import (
    API_KEY_PREFIX,
    LAST_SEEN_GRAIN,
    LAST_SEEN_SHARE,
    OPERATOR_TOKEN_PREFIX,
    REAUTHENTICATION_WINDOW,
    SESSION_TOKEN_PREFIX,
    guest_session_expires_at,
    hash_token,
    session_expires_at,
)
from streamsvc.security import dpop, operators
from streamsvc.security.audit_context import set_audit_actor
from streamsvc.security.local_rate_limits import LocalRateLimits
from streamsvc.security.operators import Operator
from streamsvc.settings import current_settings
from streamsvc.storage import session_guard
from streamsvc.storage.compiled_statements import CompiledStatement
from streamsvc.storage.database import SAFE_METHODS, db, execute_write
from streamsvc.storage.durability import Relaxed

COOKIE = "__Host-sst"
CSRF_HEADER = "X-CSRF-Token"
GUEST_TOKEN_HEADER = "X-Guest-Token"


@dataclass(frozen=True)
class Access:
    """Who may use a view: everyone, viewers, operators with a scope, or any signed-in operator."""

    public: bool = False
    viewer: bool = False
    scope: str | None = None
    human_only: bool = False
    """Only operators with a session of their own, not API keys."""
    owner_only: bool = False
    """Of the viewers, only the account's owner: not support staff who are impersonating."""


VIEWER_ONLY = Access(viewer=True)
View = Any
"""A view function; its access is an attribute, which types of functions do not have."""


def public(view: View) -> View:
    """Mark a view that needs no token."""
    view.access = Access(public=True)
    return view


def operator_only(scope: str) -> Callable[[View], View]:
    """Mark a view for operators whose key or role has `scope` or `admin`."""
    return _set_access(Access(scope=scope))


def human_operator_only(view: View) -> View:
    """Mark a view for operators who signed in, whatever their role; API keys are excluded."""
    view.access = Access(human_only=True)
    return view


def owner_only(view: View) -> View:
    """Mark a view for viewers, excluding support staff who are impersonating.

    For payment methods and the full personal record, for example.
    """
    view.access = Access(viewer=True, owner_only=True)
    return view


def allow_kids(view: View) -> View:
    """Mark a view that is also open to a kids' profile; if the view is about a profile, only to that profile itself."""
    view.allows_kids = True
    return view


def allow_guests(view: View) -> View:
    """Mark a view that is also open to guests: people without an account."""
    view.allows_guests = True
    return view


def public_catalog(view: View) -> View:
    """Mark a view that needs no token if the catalogue is public."""
    view.is_in_public_catalog = True
    return view


def accept_guest_token(view: View) -> View:
    """Mark a public view that starts a session, and moves into its account what the guest of `X-Guest-Token` saved."""
    view.accepts_guest_token = True
    return view


def viewer_or_operator(scope: str) -> Callable[[View], View]:
    """Mark a view for viewers, and for operators whose key or role has `scope` or `admin`."""
    return _set_access(Access(viewer=True, scope=scope))


def _set_access(access: Access) -> Callable[[View], View]:
    def set_access(view: View) -> View:
        view.access = access
        return view

    return set_access


class Viewer(UserMixin):
    """An authenticated viewer, from one consistent read: the session, its account, profiles and live subscription."""

    def __init__(self, rows: Sequence[Any], csrf_token: str | None = None):
        self.row = rows[0]
        self.rows = rows
        self.csrf_token = csrf_token
        """The token that unsafe requests must carry; None for a session without a cookie."""

    def get_id(self) -> str:
        return self.row.session_id

    @property
    def account_id(self) -> str:
        return self.row.account_id

    @property
    def is_guest(self) -> bool:
        return self.row.account_status == GUEST

    @cached_property
    def profile(self) -> Any | None:
        """The row of the selected profile (`profile_…` columns), or None."""
        return next((r for r in self.rows if r.profile_id and r.profile_id == self.row.selected_profile_id), None)

    @cached_property
    def profiles(self) -> list:
        """The rows of the account's profiles, oldest first."""
        return [r for r in self.rows if r.profile_id]

    @cached_property
    def entitlements(self) -> dict:
        """What the live subscription currently allows: see rules/billing/entitlements.py."""
        row = self.row
        grants = parse_grants(row.included_addons, row.addon_grants)
        return compute_entitlements(
            row.subscription_status,
            row.access_until,
            row.plan_code,
            row.features,
            clock.account_now(row.account_id) if row.access_until or grants else clock.now(),
            grants,
            Plan.load_addon_features(grant.addon for grant in grants) if grants else None,
        )

    def reload(self) -> "Viewer":
        """Return the same viewer as seen by the current transaction."""
        rows = db.session.execute(VIEWER_BY_TOKEN, {"token_hash": self.row.token_hash}).all()
        return Viewer(rows, self.csrf_token)

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
        Subscription.price_id,
        Subscription.access_until,
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
        # Literals: SQLite would plan the query anew for each parameter that a partial index mentions.
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

login_manager = LoginManager()
log = logging.getLogger("streamsvc.security")
authz_failed = Signal()
"""Sent when a valid token is denied access, with its principal (a Viewer or an Operator) and the `reason`."""


@login_manager.request_loader
def load_principal(request: Request) -> Viewer | Operator | None:
    """Load the viewer or operator of the request's token, or None.

    The Authorization header takes precedence over the cookie.
    """
    if "Authorization" in request.headers:
        scheme, _, token = request.headers["Authorization"].partition(" ")
        if scheme.lower() == "dpop":
            return _find_bound_viewer(token.strip())
        token = token.strip() if scheme.lower() == "bearer" else ""
        if token.startswith(API_KEY_PREFIX):
            return operators.find_operator_by_key(token)
        if token.startswith(OPERATOR_TOKEN_PREFIX):
            return operators.find_operator_by_session(token)
        return _find_viewer(token) if token.startswith(SESSION_TOKEN_PREFIX) else None
    token = request.cookies.get(COOKIE, "")
    return _find_viewer(token, by_cookie=True) if token.startswith(SESSION_TOKEN_PREFIX) else None


def presented_session_token(request: Request) -> str:
    """Return the viewer's session token that a request presents, valid or not; empty if there is none."""
    token = request.headers.get("Authorization", "").partition(" ")[2].strip() or request.cookies.get(COOKIE, "")
    return token if token.startswith(SESSION_TOKEN_PREFIX) else ""


def _find_bound_viewer(token: str) -> Viewer | None:
    """Find the viewer of a session that is bound to a key, and verify the request's proof. Raises DpopProofRequired."""
    viewer = _find_viewer(token, is_proved=True) if token.startswith(SESSION_TOKEN_PREFIX) else None
    if viewer is None:
        raise DpopProofRequired("invalid_token")
    if not request.headers.get("DPoP"):
        raise DpopProofRequired("invalid_dpop_proof", "The DPoP header is missing. Send a proof for this request.")
    try:
        jkt = dpop.verify_proof(request.headers["DPoP"], request.method, request.path, token)
    except NonceRequired:
        raise DpopProofRequired("use_dpop_nonce", nonce=dpop.current_nonce()) from None
    except ProofInvalid as error:
        raise DpopProofRequired("invalid_dpop_proof", f"The DPoP proof was refused: {error}.") from None
    if viewer.row.dpop_jkt is None or not hmac.compare_digest(jkt, viewer.row.dpop_jkt):
        raise DpopProofRequired("invalid_token")
    return viewer


def _verify_sign_in_proof() -> None:
    """Verify the proof that comes with a sign-in; the session that the view creates is bound to its key.

    Raises DpopProofInvalid, DpopNonceRequired.
    """
    if not current_settings().dpop:
        raise DpopProofInvalid("this service does not bind sessions to keys")
    try:
        g.dpop_jkt = dpop.verify_proof(request.headers["DPoP"], request.method, request.path)
    except NonceRequired:
        raise DpopNonceRequired(dpop.current_nonce()) from None
    except ProofInvalid as error:
        raise DpopProofInvalid(str(error)) from None


def _find_viewer(token: str, by_cookie: bool = False, is_proved: bool = False) -> Viewer | None:
    viewer, now = _find_live_viewer(token, by_cookie), clock.now()
    if viewer is None or (viewer.is_guest and not current_settings().guests):
        return None
    if viewer.row.dpop_jkt is not None and not is_proved:
        raise DpopProofRequired("invalid_token")
    if _is_use_to_record(viewer, now, _local_limits().try_hit):
        execute_write(UPDATE_LAST_SEEN, {"session_id": viewer.row.session_id, "now": now}, Relaxed.SESSION_USE)
    return viewer


def _is_use_to_record(viewer: Viewer, now: datetime, has_turn: Callable[[RateLimit, str, float], bool]) -> bool:
    """Whether this request must record that the session is in use.

    If many sessions are used for the first time in a while, as every evening, not all can be recorded at once: a
    session whose turn it is not is recorded at one of its next requests, so that it expires little earlier at most.
    """
    unrecorded = now - viewer.row.last_seen_at
    if unrecorded <= LAST_SEEN_GRAIN:
        return False
    lifetime = viewer.session_expires_at - viewer.row.last_seen_at
    return unrecorded > lifetime * LAST_SEEN_SHARE or has_turn(SESSION_USES, "", time.monotonic())


def _local_limits() -> LocalRateLimits:
    return current_app.extensions["local_rate_limits"]


def find_ordinary_viewer(token: str) -> Viewer | None:
    """Find the viewer of a bearer token whose use needs neither a further check nor a write.

    None for guests, support staff who are impersonating, sessions bound to a key, and those whose use must be recorded,
    as for a token that is not valid: the usual way decides.
    """
    viewer = _find_live_viewer(token, by_cookie=False)
    if viewer is None or viewer.is_guest or viewer.row.impersonated_by or viewer.row.dpop_jkt is not None:
        return None
    return None if _is_use_to_record(viewer, clock.now(), _local_limits().test) else viewer


def _find_live_viewer(token: str, by_cookie: bool) -> Viewer | None:
    """Find the viewer of a session that has neither ended nor expired."""
    rows = COMPILED_VIEWER_BY_TOKEN.all(token_hash=hash_token(token))
    if not rows:
        return None
    viewer = Viewer(rows, compute_csrf_token(rows[0].session_id) if by_cookie else None)
    has_expired = viewer.session_expires_at <= clock.now() + clock.set_back_by()
    if viewer.row.epoch < current_settings().session_epoch or has_expired:
        return None
    return viewer


def _find_guest() -> GuestSession | None:
    """Find the guest who signs up or signs in: by `X-Guest-Token`, or by the cookie with its CSRF token.

    None if there is none, also for a token that has expired: a sign-in does not depend on it. Whoever is bound to a key
    is found only if the sign-in proves the same key.
    """
    token, by_cookie = request.headers.get(GUEST_TOKEN_HEADER, "").strip(), False
    if not token and CSRF_HEADER in request.headers:
        token, by_cookie = request.cookies.get(COOKIE, ""), True
    viewer = _find_live_viewer(token, by_cookie) if token.startswith(SESSION_TOKEN_PREFIX) else None
    if viewer is None or not viewer.is_guest or (by_cookie and _csrf_failure(viewer)):
        return None
    if viewer.row.dpop_jkt not in (None, g.get("dpop_jkt")):
        return None
    return GuestSession(viewer.account_id, viewer.row.session_id)


def compute_csrf_token(session_id: str, key: str | None = None) -> str:
    """Compute the CSRF token of a session: only pages of our own and of allowed origins can read it and send it along.

    It is bound to the session by the service's secret, and stays the same when the session gets a new token.
    """
    key = key or current_settings().secret_key[0]
    return hmac.digest(key.encode(), f"csrf {session_id}".encode(), "sha256").hex()


def set_principal(principal: Viewer | Operator | None) -> None:
    """Make this the authenticated viewer or operator of the current request."""
    login_manager._update_request_context_with_user(principal)


def current_principal() -> Viewer | Operator | None:
    """Return the authenticated viewer or operator; None in a public view, even if a token was sent."""
    return g.get("_login_user")


def find_presented_viewer() -> Viewer | None:
    """Find the viewer of the token that was sent to a public view; None without a valid one, and while impersonating.

    For views to which the token grants nothing: it only shows who sends another secret.
    """
    principal = load_principal(request)
    return principal if isinstance(principal, Viewer) and not principal.row.impersonated_by else None


def current_viewer() -> Viewer:
    """Return the authenticated viewer; call it only if the principal is a viewer."""
    return g._login_user


def current_operator() -> Operator:
    """Return the authenticated operator; call it only if the principal is an operator."""
    return g._login_user


def is_operator_request() -> bool:
    """Whether an operator sent the request, not a viewer."""
    return isinstance(current_principal(), Operator)


def is_visitor_request() -> bool:
    """Whether a visitor without a token reads the public catalogue."""
    return current_principal() is None


def require_recent_authentication() -> None:
    """Raise ReauthenticationRequired unless the viewer authenticated within the last ten minutes."""
    if not current_viewer().is_recently_authenticated:
        raise ReauthenticationRequired


def _check_access() -> None:
    """Deny access to anyone whom the view does not name."""
    view = current_app.view_functions.get(request.endpoint or "")
    access = getattr(view, "access", VIEWER_ONLY)
    if view is None or access.public:
        if "DPoP" in request.headers and view is not None and request.method not in SAFE_METHODS:
            _verify_sign_in_proof()
        if getattr(view, "accepts_guest_token", False):
            g.guest = _find_guest()
        return
    if getattr(view, "is_in_public_catalog", False) and _is_visitor(request):
        _count_catalog_read()
        return
    principal = load_principal(request)
    set_principal(principal)
    if isinstance(principal, Operator):
        set_audit_actor(principal.id)
        _check_operator(principal, access)
    elif not (isinstance(principal, Viewer) and access.viewer):
        raise NotSignedIn(presented="Authorization" in request.headers)
    elif principal.is_guest and not getattr(view, "allows_guests", False):
        _deny(principal, "guests have no account", SignUpRequired())
    elif principal.row.impersonated_by and (access.owner_only or request.method not in SAFE_METHODS):
        _deny(principal, "impersonation is read-only", ReadOnlySession())
    elif principal.csrf_token and request.method not in SAFE_METHODS:
        _check_csrf(principal)
    if isinstance(principal, Viewer) and principal.profile and principal.profile.kids:
        _check_kids_profile(principal, view, access)


def _is_visitor(request: Request) -> bool:
    """Whether the catalogue is public and no token was sent; one that is invalid makes nobody a visitor."""
    is_public = current_settings().catalog == "public"
    return is_public and "Authorization" not in request.headers and COOKIE not in request.cookies


def _count_catalog_read() -> None:
    """Count a read of the public catalogue for the request's address. Raises TooManyAttempts."""
    limit = RateLimit(CATALOG_READS, current_settings().catalog_reads_per_minute, MINUTE_S)
    limits = current_app.extensions["local_rate_limits"]
    g.is_catalog_visitor = True
    limits.hit(limit, source_network(request.remote_addr), clock.service_now().timestamp())


@event.listens_for(db.session, "before_commit")
def _require_valid_credential(session: orm.Session) -> None:
    """Commit a change only while its session or API key is valid, or with its end. Raises NotSignedIn.

    A change that began before its session was ended would otherwise survive what ended it, such as a password reset or
    the removal of an operator. The row is locked before the end of the audit log, as all others are.
    """
    principal = g.get("_login_user") if has_request_context() else None
    if principal is None or request.method in SAFE_METHODS:
        return
    if isinstance(principal, Operator):
        is_needed = session_guard.needs_valid_credential(principal.credential_id, principal.id)
        is_valid = not is_needed or operators.lock_credential(session, principal)
    else:
        is_needed = session_guard.needs_valid_credential(principal.row.session_id)
        is_valid = not is_needed or _lock_live_session(session, principal.row.session_id)
    if not is_valid:
        raise NotSignedIn(presented=True)


def _lock_live_session(session: orm.Session, session_id: str) -> bool:
    """Lock a viewer's session until the transaction ends; False if it has ended."""
    is_live = (Session.ended_at.is_(None), Session.service_epoch >= CURRENT_SERVICE_EPOCH)
    row = sa.select(Session.id).where(Session.id == session_id, *is_live).with_for_update(read=True)
    return session.execute(row).first() is not None


def _check_kids_profile(viewer: Viewer, view: View, access: Access) -> None:
    """Restrict a kids' profile to playback and its own data: nothing of the account, its payments or other profiles.

    Raises KidsProfile, unless the viewer authenticated recently and so is known to be the account's owner.
    """
    profile_id = viewer.row.selected_profile_id
    is_own_profile = (request.view_args or {}).get("profile_id", profile_id) == profile_id
    is_allowed = access.scope == "catalog" or (getattr(view, "allows_kids", False) and is_own_profile)
    if not is_allowed and not viewer.is_recently_authenticated:
        _deny(viewer, "a kids' profile is selected", KidsProfile())


def _check_operator(operator: Operator, access: Access) -> None:
    if access.human_only and operator.session:
        return
    if access.scope is None:
        raise NotSignedIn(presented=True)
    if not operator.has_scope(access.scope, write=request.method not in SAFE_METHODS):
        _deny(operator, f"lacks the scope {access.scope}", InsufficientScope(access.scope))


def _check_csrf(viewer: Viewer) -> None:
    """Require the CSRF token of a session cookie. Raises CsrfTokenInvalid."""
    if failure := _csrf_failure(viewer):
        _deny(viewer, failure[0], failure[1])


def _csrf_failure(viewer: Viewer) -> tuple[str, CsrfTokenInvalid] | None:
    """Return why the cookie does not count for a change, with the error for it; None if it does."""
    settings, headers = current_settings(), request.headers
    own_hosts = {request.host.lower(), relying_party_and_origin(settings.public_url)[1].partition("://")[2]}
    if is_cross_site(headers.get("Sec-Fetch-Site"), headers.get("Origin"), own_hosts, settings.cors_origins):
        refusal = CsrfTokenInvalid(detail="This cookie cannot be used for changes requested by another site.")
        return "cross-site request with the cookie", refusal
    sent = headers.get(CSRF_HEADER, "").encode()
    valid_tokens = (compute_csrf_token(viewer.row.session_id, key) for key in settings.secret_key)
    if not any(hmac.compare_digest(sent, token.encode()) for token in valid_tokens):
        return "missing or invalid CSRF token", CsrfTokenInvalid()
    return None


def _deny(principal: Viewer | Operator, reason: str, refusal: Refusal) -> NoReturn:
    """Log the denial, send `authz_failed`, and raise `refusal`."""
    log.warning("authz_fail: %s at %s: %s", principal.get_id(), request.endpoint, reason)
    authz_failed.send(principal, reason=reason)
    raise refusal


def init_app(app: Flask) -> None:
    login_manager.session_protection = None  # sessions are database rows, not Flask's cookie
    app.login_manager = login_manager  # type: ignore[attr-defined]  # init_app would add a hook for cookies we never set
    app.extensions["local_rate_limits"] = LocalRateLimits()
    app.before_request(_check_access)
