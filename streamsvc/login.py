"""Who is asking: a token becomes a viewer or an operator. Every endpoint is closed unless it says for whom it opens."""

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

import sqlalchemy as sa
from flask import current_app, request
from flask_login import LoginManager, UserMixin, current_user

from streamsvc import clock
from streamsvc.database import affected, all_rows, one_row
from streamsvc.models import Account, ApiKey, Profile, Session
from streamsvc.rules.refusals import InsufficientScope, NotSignedIn
from streamsvc.rules.sessions import API_KEY_PREFIX, LAST_SEEN_GRAIN, TOKEN_PREFIX, expires_at, fingerprint

SCOPES = ("admin", "billing", "catalog", "support", "playback")


@dataclass(frozen=True)
class Access:
    """For whom a view opens: everybody, a viewer, an operator whose key has the scope."""

    public: bool = False
    viewer: bool = False
    scope: str | None = None


VIEWER_ONLY = Access(viewer=True)


def public(view):
    """Mark a view that needs no token."""
    view.access = Access(public=True)
    return view


def operator(scope: str):
    """Mark a view for operators whose key carries `scope` or `admin`."""
    return _open(Access(scope=scope))


def viewer_or_operator(scope: str):
    """Mark a view for viewers, and for operators whose key carries `scope` or `admin`."""
    return _open(Access(viewer=True, scope=scope))


def _open(access):
    def mark(view):
        view.access = access
        return view

    return mark


class Viewer(UserMixin):
    """One consistent read of who watches: the session, its account, the profiles, the live subscription."""

    def __init__(self, rows):
        self.row = rows[0]
        self.rows = rows

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

    @property
    def session_expires_at(self) -> datetime:
        return expires_at(self.row.lifetime, self.row.session_created_at, self.row.last_seen_at)


class Operator(UserMixin):
    """An API key at work."""

    def __init__(self, row):
        self.id = row.id
        self.name = row.name
        self.scopes = frozenset(row.scopes)

    def may(self, scope: str) -> bool:
        return scope in self.scopes or "admin" in self.scopes


VIEWER_BY_TOKEN = (
    sa.select(
        Session.id.label("session_id"),
        Session.device_id,
        Session.lifetime,
        Session.epoch,
        Session.created_at.label("session_created_at"),
        Session.authenticated_at,
        Session.last_seen_at,
        Session.profile_id.label("selected_profile_id"),
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
    )
    .join(Account, sa.and_(Account.id == Session.account_id, Account.status == "active"))
    .outerjoin(Profile, Profile.account_id == Account.id)
    .where(Session.token_hash == sa.bindparam("token_hash"), Session.ended_at.is_(None))
    .order_by(Profile.id)
)
OPERATOR_BY_TOKEN = sa.select(ApiKey).where(
    ApiKey.token_hash == sa.bindparam("token_hash"), ApiKey.revoked_at.is_(None)
)
SEEN = (
    sa.update(Session)
    .where(Session.id == sa.bindparam("session_id"), Session.last_seen_at < sa.bindparam("now"))
    .values(last_seen_at=sa.bindparam("now"))
)

login_manager = LoginManager()


@login_manager.request_loader
def user_of(request):
    """The viewer or operator whose live token the request carries, else None."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        return None
    token = token.strip()
    if token.startswith(TOKEN_PREFIX):
        return _viewer(token)
    return _operator(token) if token.startswith(API_KEY_PREFIX) else None


def _viewer(token: str) -> Viewer | None:
    rows = all_rows(VIEWER_BY_TOKEN, {"token_hash": fingerprint(token)})
    if not rows:
        return None
    found, now = Viewer(rows), clock.now()
    if found.row.epoch < current_app.extensions["settings"].session_epoch or found.session_expires_at <= now:
        return None
    if now - found.row.last_seen_at > LAST_SEEN_GRAIN:
        affected(SEEN, {"session_id": found.row.session_id, "now": now})
    return found


def _operator(token: str) -> Operator | None:
    key = one_row(OPERATOR_BY_TOKEN.with_only_columns(*ApiKey.__table__.c), {"token_hash": fingerprint(token)})
    return Operator(key) if key and (key.expires_at is None or key.expires_at > clock.now()) else None


def viewer() -> Viewer:
    """Who watches; only in views that open for viewers."""
    return current_user._get_current_object()


def asking_operator() -> Operator | None:
    """The operator that asks, or None where a viewer does."""
    found = current_user._get_current_object()
    return found if isinstance(found, Operator) else None


def _guard():
    """Close every view to everybody whom it does not name."""
    view = current_app.view_functions.get(request.endpoint)
    access = getattr(view, "access", VIEWER_ONLY)
    if view is None or access.public:
        return
    who = current_user._get_current_object()
    if isinstance(who, Operator):
        if access.scope is None:
            raise NotSignedIn(presented=True)
        if not who.may(access.scope):
            raise InsufficientScope(access.scope)
    elif not (isinstance(who, Viewer) and access.viewer):
        raise NotSignedIn(presented="Authorization" in request.headers)


def register(app) -> None:
    login_manager.init_app(app)
    app.before_request(_guard)
