"""Authorization: every endpoint is closed unless its view states who may use it."""

import logging
from typing import NoReturn

import sqlalchemy as sa
from blinker import Signal
from flask import Flask, Request, current_app, g, has_request_context, request
from sqlalchemy import event, orm

from streamsvc import clock
from streamsvc.models import Session
from streamsvc.models.sessions import CURRENT_SERVICE_EPOCH
from streamsvc.rules.rate_limits import CATALOG_READS, MINUTE_S, RateLimit, source_network
from streamsvc.rules.refusals.access import InsufficientScope, NotSignedIn, ReadOnlySession, SignUpRequired
from streamsvc.rules.refusals.accounts import KidsProfile
from streamsvc.rules.refusals.base import Refusal
from streamsvc.security import operators
from streamsvc.security.access import VIEWER_ONLY, Access, View
from streamsvc.security.audit_context import set_audit_actor
from streamsvc.security.authentication import COOKIE, find_guest, load_principal, verify_sign_in_proof
from streamsvc.security.csrf import csrf_failure
from streamsvc.security.local_rate_limits import LocalRateLimits
from streamsvc.security.operators import Operator
from streamsvc.security.principals import login_manager, set_principal
from streamsvc.security.viewers import Viewer
from streamsvc.settings import current_settings
from streamsvc.storage import session_guard
from streamsvc.storage.database import SAFE_METHODS, db

log = logging.getLogger("streamsvc.security")
authz_failed = Signal()
"""Sent when a valid token is denied access, with its principal (a Viewer or an Operator) and the `reason`."""


def _check_access() -> None:
    """Deny access to anyone whom the view does not name."""
    view = current_app.view_functions.get(request.endpoint or "")
    access = getattr(view, "access", VIEWER_ONLY)
    if view is None or access.public:
        if "DPoP" in request.headers and view is not None and request.method not in SAFE_METHODS:
            verify_sign_in_proof()
        if getattr(view, "accepts_guest_token", False):
            g.guest = find_guest()
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
        _check_csrf(principal, principal.row.session_id)
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


def _check_operator(operator: Operator, access: Access) -> None:
    if operator.csrf_token and request.method not in SAFE_METHODS:
        _check_csrf(operator, operator.credential_id)
    if access.human_only and operator.session:
        return
    if access.scope is None:
        raise NotSignedIn(presented=True)
    if not operator.has_scope(access.scope, write=request.method not in SAFE_METHODS):
        _deny(operator, f"lacks the scope {access.scope}", InsufficientScope(access.scope))


def _check_kids_profile(viewer: Viewer, view: View, access: Access) -> None:
    """Restrict a kids' profile to playback and its own data: nothing of the account, its payments or other profiles.

    Raises KidsProfile, unless the viewer authenticated recently and so is known to be the account's owner.
    """
    profile_id = viewer.row.selected_profile_id
    is_own_profile = (request.view_args or {}).get("profile_id", profile_id) == profile_id
    is_allowed = access.scope == "catalog" or (getattr(view, "allows_kids", False) and is_own_profile)
    if not is_allowed and not viewer.is_recently_authenticated:
        _deny(viewer, "a kids' profile is selected", KidsProfile())


def _check_csrf(principal: Viewer | Operator, session_id: str) -> None:
    """Require the CSRF token of a session cookie. Raises CsrfTokenInvalid."""
    if failure := csrf_failure(session_id):
        _deny(principal, failure[0], failure[1])


def _deny(principal: Viewer | Operator, reason: str, refusal: Refusal) -> NoReturn:
    """Log the denial, send `authz_failed`, and raise `refusal`."""
    log.warning("authz_fail: %s at %s: %s", principal.get_id(), request.endpoint, reason)
    authz_failed.send(principal, reason=reason)
    raise refusal


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


def init_app(app: Flask) -> None:
    login_manager.session_protection = None  # sessions are database rows, not Flask's cookie
    app.login_manager = login_manager  # type: ignore[attr-defined]  # init_app would add a hook for cookies we never set
    app.extensions["local_rate_limits"] = LocalRateLimits()
    app.before_request(_check_access)
