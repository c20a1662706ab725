"""Authentication: resolves a request's token to a Viewer or an Operator.

Viewers are loaded in viewers.py, operators in operators.py; authorization.py decides what they may use.
"""

import hmac

from flask import Request, g, request

from streamsvc.rules.refusals.access import DpopNonceRequired, DpopProofInvalid, DpopProofRequired
from streamsvc.rules.request_facts import GuestSession
from streamsvc.rules.sign_in.dpop import NonceRequired, ProofInvalid
from streamsvc.rules.sign_in.sessions import API_KEY_PREFIX, OPERATOR_TOKEN_PREFIX, SESSION_TOKEN_PREFIX
from streamsvc.security import dpop, operators, viewers
from streamsvc.security.csrf import CSRF_HEADER, compute_csrf_token, csrf_failure, is_from_another_site
from streamsvc.security.operators import Operator
from streamsvc.security.principals import login_manager
from streamsvc.security.viewers import Viewer
from streamsvc.settings import current_settings

COOKIE = "__Host-sst"
OPERATOR_COOKIE = "__Host-ops"
OPERATOR_COOKIE_PATHS = "/v1/admin/"
"""Where the operator's cookie counts: a browser may be signed in as a viewer too, elsewhere on the same host."""
GUEST_TOKEN_HEADER = "X-Guest-Token"


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
        return viewers.find_viewer(token) if token.startswith(SESSION_TOKEN_PREFIX) else None
    if OPERATOR_COOKIE in request.cookies and request.path.startswith(OPERATOR_COOKIE_PATHS):
        return _find_cookie_operator(request.cookies[OPERATOR_COOKIE])
    token = request.cookies.get(COOKIE, "")
    return viewers.find_viewer(token, by_cookie=True) if token.startswith(SESSION_TOKEN_PREFIX) else None


def _find_cookie_operator(token: str) -> Operator | None:
    """Find the operator of the console's cookie, for pages of our own alone: origins allowed by CORS do not count."""
    if not token.startswith(OPERATOR_TOKEN_PREFIX) or is_from_another_site(()):
        return None
    operator = operators.find_operator_by_session(token)
    if operator is not None:
        operator.csrf_token = compute_csrf_token(operator.credential_id)
    return operator


def presented_session_token(request: Request) -> str:
    """Return the viewer's session token that a request presents, valid or not; empty if there is none."""
    token = request.headers.get("Authorization", "").partition(" ")[2].strip() or request.cookies.get(COOKIE, "")
    return token if token.startswith(SESSION_TOKEN_PREFIX) else ""


def _find_bound_viewer(token: str) -> Viewer | None:
    """Find the viewer of a session that is bound to a key, and verify the request's proof. Raises DpopProofRequired."""
    viewer = viewers.find_viewer(token, is_proved=True) if token.startswith(SESSION_TOKEN_PREFIX) else None
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


def find_presented_viewer() -> Viewer | None:
    """Find the viewer of the token that was sent to a public view; None without a valid one, and while impersonating.

    For views to which the token grants nothing: it only shows who sends another secret.
    """
    principal = load_principal(request)
    return principal if isinstance(principal, Viewer) and not principal.row.impersonated_by else None


def find_guest() -> GuestSession | None:
    """Find the guest who signs up or signs in: by `X-Guest-Token`, or by the cookie with its CSRF token.

    None if there is none, also for a token that has expired: a sign-in does not depend on it. Whoever is bound to a key
    is found only if the sign-in proves the same key.
    """
    token, by_cookie = request.headers.get(GUEST_TOKEN_HEADER, "").strip(), False
    if not token and CSRF_HEADER in request.headers:
        token, by_cookie = request.cookies.get(COOKIE, ""), True
    viewer = viewers.find_live_viewer(token, by_cookie) if token.startswith(SESSION_TOKEN_PREFIX) else None
    if viewer is None or not viewer.is_guest or (by_cookie and csrf_failure(viewer.row.session_id)):
        return None
    if viewer.row.dpop_jkt not in (None, g.get("dpop_jkt")):
        return None
    return GuestSession(viewer.account_id, viewer.row.session_id)


def verify_sign_in_proof() -> None:
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
