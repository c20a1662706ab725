"""Sign-in with accounts at other providers, and linking them (OpenID Connect)."""

from urllib.parse import urlencode

from flask import Response, redirect
from marshmallow import EXCLUDE
from werkzeug.wrappers import Response as BaseResponse

from streamsvc import clock
from streamsvc.blueprints.sessions.cookies import (
    binding_of_request,
    device_and_trust_token,
    get_or_create_binding,
    presented_binding,
    response_with_binding,
    token_in_cookie_on_request,
)
from streamsvc.blueprints.sessions.documents import sign_in_response
from streamsvc.http import idempotency
from streamsvc.http.edge import Blueprint
from streamsvc.http.idempotency import idempotent
from streamsvc.http.pagination import paginate_query
from streamsvc.http.request_facts import current_request_facts
from streamsvc.models import Identity
from streamsvc.operations.credentials import pending_flows, second_factor, trusted_devices
from streamsvc.operations.credentials.attempts import hit_address_limit
from streamsvc.operations.sign_in import hook, oidc_identities, password
from streamsvc.rules import rate_limits as limits
from streamsvc.rules.inputs import PageInput
from streamsvc.rules.refusals.access import EndUserAddressInvalid
from streamsvc.rules.refusals.accounts import (
    EmailTaken,
    EmailUnverified,
    IdentityTaken,
    IdentityUnknown,
    InvalidCredentials,
    ReauthenticationRequired,
    SecondFactorInvalid,
    SecondFactorRequired,
    SignInDenied,
    TokenInvalid,
    TooManyAttempts,
)
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.rules.sign_in.inputs import OidcSignInInput
from streamsvc.rules.sign_in.sessions import SESSION_TOKEN_PREFIX
from streamsvc.schemas.base import PageQuery, page_of
from streamsvc.schemas.sessions.identities import (
    AuthorizationUrl,
    IdentityOut,
    LinkOptions,
    OidcOptions,
    OidcSignIn,
    ProviderFormPost,
    ProviderResponse,
    Providers,
)
from streamsvc.schemas.sessions.sessions import SignedIn
from streamsvc.security.access import accept_guest_token, public
from streamsvc.security.principals import current_viewer, require_recent_authentication
from streamsvc.storage.database import db

bp = Blueprint(
    "identities", __name__, url_prefix="/v1", description="Sign in with accounts at other providers (OpenID Connect)."
)


@bp.route("/identity-providers")
@public
@bp.response(200, Providers)
def list_identity_providers() -> dict:
    """List identity providers."""
    return {"items": [{"name": name} for name in oidc_identities.list_provider_names()], "next_cursor": None}


@bp.route("/sessions/oidc-options", methods=["POST"])
@bp.arguments(OidcOptions)
@public
@bp.errors(EndUserAddressInvalid, NotFound, TooManyAttempts)
@bp.response(200, AuthorizationUrl)
def start_oidc_sign_in(body: dict) -> Response:
    """Start a sign-in at an identity provider.

    With `sign_up`, an account is created if none is linked yet.
    """
    hit_address_limit(limits.CHALLENGES_BY_ADDRESS, current_request_facts())
    binding, now = get_or_create_binding(body["cookie"]), clock.now()
    url = oidc_identities.start_provider_sign_in(
        "oidc_sign_in", body["provider"], now, body["sign_up"], binding=binding
    )
    db.session.commit()
    return response_with_binding({"authorization_url": url}, binding, body["cookie"])


@bp.route("/sessions/oidc-callback", methods=["POST"])
@bp.arguments(ProviderFormPost, location="form", unknown=EXCLUDE)
@public
@bp.errors(EndUserAddressInvalid, TooManyAttempts)
@bp.response(303, {"type": "string"}, content_type="text/html", description="To the front end.")
def receive_oidc_form_post(form: dict) -> BaseResponse:
    """Receive a provider's form-post response.

    Redirects the browser to the front end with the response in the URL fragment, which no server sees. Only the
    browser that started the flow can complete it.
    """
    hit_address_limit(limits.CHALLENGES_BY_ADDRESS, current_request_facts())
    return redirect(f"{oidc_identities.front_end_redirect_url()}#{urlencode(form)}", 303)


@bp.route("/sessions/oidc", methods=["POST"])
@bp.arguments(OidcSignIn)
@public
@accept_guest_token
@token_in_cookie_on_request
@idempotent(browser_binding=binding_of_request)
@bp.errors(
    EmailTaken,
    EmailUnverified,
    EndUserAddressInvalid,
    IdentityTaken,
    IdentityUnknown,
    InvalidCredentials,
    SecondFactorInvalid,
    SecondFactorRequired,
    SignInDenied,
    TokenInvalid,
    TooManyAttempts,
)
@bp.response(201, SignedIn)
def create_oidc_session(body: OidcSignInInput) -> Response:
    """Complete a sign-in at an identity provider.

    Takes the parameters of the provider's redirect, in the browser that started the flow. Accounts with a second
    factor need it too: 401 `second_factor_required`.
    """
    facts = current_request_facts()
    hit_address_limit(limits.CHALLENGES_BY_ADDRESS, facts)
    now, (device, trust_token) = clock.now(), device_and_trust_token(body)
    flow = pending_flows.find_browser_flow("oidc_sign_in", body["state"], presented_binding(body["binding"]), True, now)
    provider_sign_in = oidc_identities.fetch_provider_sign_in(flow, body["code"], body["iss"], now)
    second = None
    if provider_sign_in.account_id:
        account = password.load_sign_in_account(provider_sign_in.account_id, (device or {}).get("id"))
        second = second_factor.require_authenticator_code(account, body, trust_token, now)
    hook.require_permission(provider_sign_in.account_id, provider_sign_in.provider.name, device, facts, second)
    account_id = oidc_identities.complete_provider_sign_in(provider_sign_in, now)
    token = SESSION_TOKEN_PREFIX + idempotency.generate_secret()
    notify = provider_sign_in.account_id is not None
    session = password.create_session(
        account_id,
        device,
        body["remember"],
        token,
        facts,
        now,
        notify,
        method=provider_sign_in.provider.name,
        second_factor=second,
    )
    trust = trusted_devices.trust_device_if_requested(session, body["trust_device"], second, now)
    return sign_in_response(token, body["cookie"], trust)


@bp.route("/identities/options", methods=["POST"])
@bp.arguments(LinkOptions)
@bp.errors(ReauthenticationRequired)
@bp.response(200, AuthorizationUrl)
def start_identity_link(body: dict) -> dict:
    """Start linking an identity to your account.

    Requires a recent reauthentication.
    """
    require_recent_authentication()
    url = oidc_identities.start_provider_sign_in(
        "oidc_link", body["provider"], clock.now(), session_id=current_viewer().row.session_id
    )
    db.session.commit()
    return {"authorization_url": url}


@bp.route("/identities", methods=["POST"])
@bp.arguments(ProviderResponse)
@idempotent()
@bp.errors(IdentityTaken, ReauthenticationRequired, TokenInvalid)
@bp.response(201, IdentityOut)
def create_identity(body: dict) -> Identity:
    """Link an identity to your account.

    Takes the parameters of the provider's redirect. Requires a recent reauthentication.
    """
    require_recent_authentication()
    row, now = current_viewer().row, clock.now()
    flow = pending_flows.find_session_flow("oidc_link", body["state"], row.session_id, now)
    return oidc_identities.link_identity(
        oidc_identities.fetch_provider_sign_in(flow, body["code"], body["iss"], now),
        row.account_id,
        row.session_id,
        now,
    )


@bp.route("/identities")
@bp.arguments(PageQuery, location="query")
@bp.response(200, page_of(IdentityOut))
def list_identities(query: PageInput) -> dict:
    """List your linked identities, newest first."""
    return paginate_query(Identity.select_owned(current_viewer().account_id), Identity.id, query, "identities")


@bp.route("/identities/<identity_id>", methods=["DELETE"])
@bp.errors(ReauthenticationRequired)
@bp.response(204)
def delete_identity(identity_id: str) -> None:
    """Unlink an identity.

    You can still sign in by magic link or by resetting the password. Requires a recent reauthentication.
    """
    require_recent_authentication()
    identity = Identity.find_owned(current_viewer().account_id, identity_id)
    if identity is None:
        raise NotFound
    oidc_identities.unlink_identity(identity, clock.now())
    db.session.commit()
