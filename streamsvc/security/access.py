"""Who may use a view: the marks that views carry. A view without one is for viewers only."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


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
