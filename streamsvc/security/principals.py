"""The authenticated viewer or operator of the current request."""

from flask import g
from flask_login import LoginManager

from streamsvc.rules.refusals.accounts import ReauthenticationRequired
from streamsvc.security.operators import Operator
from streamsvc.security.viewers import Viewer

login_manager = LoginManager()


def set_principal(principal: Viewer | Operator | None) -> None:
    """Make this the authenticated viewer or operator of the current request."""
    g._get_current_object()._login_user = principal  # at half the cost of the proxy


def current_principal() -> Viewer | Operator | None:
    """Return the authenticated viewer or operator; None in a public view, even if a token was sent."""
    return g._get_current_object().get("_login_user")


def current_viewer() -> Viewer:
    """Return the authenticated viewer; call it only if the principal is a viewer."""
    return g._get_current_object()._login_user


def current_operator() -> Operator:
    """Return the authenticated operator; call it only if the principal is an operator."""
    return g._login_user


def is_visitor_request() -> bool:
    """Whether a visitor without a token reads the public catalogue."""
    return current_principal() is None


def require_recent_authentication() -> None:
    """Raise ReauthenticationRequired unless the viewer authenticated within the last ten minutes."""
    if not current_viewer().is_recently_authenticated:
        raise ReauthenticationRequired
