"""Signing in with an account at another provider, and linking one to the account here."""

from urllib.parse import urlencode

from flask import redirect
from marshmallow import EXCLUDE

from streamsvc import clock
from streamsvc.blueprints.sessions.cookies import binding_for, binding_of, bound, device_of, token_as_cookie_if_asked
from streamsvc.blueprints.sessions.documents import signed_in
from streamsvc.http import idempotency
from streamsvc.http.edge import Blueprint
from streamsvc.http.idempotency import idempotent
from streamsvc.http.pagination import paginate_query
from streamsvc.models import Identity
from streamsvc.operations.credentials import pending_flows, second_factor, trusted_devices
from streamsvc.operations.credentials.attempts import hit_address_limit
from streamsvc.operations.sign_in import oidc_identities, password
from streamsvc.rules import rate_limits as limits
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.rules.sign_in.sessions import SESSION_TOKEN_PREFIX
from streamsvc.schemas.base import PageQuery, page_of
from streamsvc.schemas.sessions.identities import (
    AuthorizationUrl,
    FromProvider,
    IdentityOut,
    LinkOptions,
    OidcOptions,
    OidcSignIn,
    PostedByProvider,
    Providers,
)
from streamsvc.schemas.sessions.sessions import SignedIn
from streamsvc.security.authentication import current_viewer, public, require_recent_authentication
from streamsvc.storage.database import db

bp = Blueprint("identities", __name__, url_prefix="/v1", description="Sign-in with accounts at other providers.")


@bp.route("/identity-providers")
@public
@bp.response(200, Providers)
def list_providers():
    """Who else may say who signs in."""
    return {"items": [{"name": name} for name in oidc_identities.list_provider_names()], "next_cursor": None}


@bp.route("/sessions/oidc-options", methods=["POST"])
@bp.arguments(OidcOptions)
@public
@bp.response(200, AuthorizationUrl)
def create_sign_in_options(given):
    """Begin to sign in at a provider; with `sign_up`, an account is opened where none is linked yet."""
    hit_address_limit(limits.CHALLENGES_BY_ADDRESS)
    binding, now = binding_for(given["cookie"]), clock.now()
    url = oidc_identities.start_provider_sign_in(
        "oidc_sign_in", given["provider"], now, given["sign_up"], binding=binding
    )
    db.session.commit()
    return bound({"authorization_url": url}, binding, given["cookie"])


@bp.route("/sessions/oidc-callback", methods=["POST"])
@bp.arguments(PostedByProvider, location="form", unknown=EXCLUDE)
@public
@bp.response(303)
def carry_over(posted):
    """Where providers that answer by form post send the browser: it carries the answer on to the front end's page.

    Behind the #, which no server sees. Nothing is decided here: only the browser that began can finish.
    """
    hit_address_limit(limits.CHALLENGES_BY_ADDRESS)
    return redirect(f"{oidc_identities.front_end_redirect_url()}#{urlencode(posted)}", 303)


@bp.route("/sessions/oidc", methods=["POST"])
@bp.arguments(OidcSignIn)
@public
@token_as_cookie_if_asked
@idempotent()
@bp.response(201, SignedIn)
def create_session(given):
    """Sign in with what the provider's redirect carried, where it was begun. A second factor is asked for as ever."""
    hit_address_limit(limits.CHALLENGES_BY_ADDRESS)
    now, (device, given["device_trust"]) = clock.now(), device_of(given)
    began = pending_flows.find_browser_flow("oidc_sign_in", given["state"], binding_of(given), True, now)
    told = oidc_identities.fetch_provider_sign_in(began, given["code"], given["iss"], now)
    second = None
    if told.account_id:
        account = password.load_sign_in_account(told.account_id, device and device.get("id"))
        second = second_factor.require_authenticator_code(account, given, now)
    account_id = oidc_identities.complete_provider_sign_in(told, now)
    token = SESSION_TOKEN_PREFIX + idempotency.generate_secret()
    proof = {"method": told.provider.name, "second_factor": second}
    notify = told.account_id is not None
    session = password.create_session(account_id, device, given["remember"], token, now, notify, **proof)
    trust = trusted_devices.trust_device_if_requested(session, given["trust_device"], second, now)
    return signed_in(token, given["cookie"], trust)


@bp.route("/identities/options", methods=["POST"])
@bp.arguments(LinkOptions)
@bp.response(200, AuthorizationUrl)
def create_link_options(given):
    """Begin to link an account at a provider to this one."""
    require_recent_authentication()
    url = oidc_identities.start_provider_sign_in(
        "oidc_link", given["provider"], clock.now(), session_id=current_viewer().row.session_id
    )
    db.session.commit()
    return {"authorization_url": url}


@bp.route("/identities", methods=["POST"])
@bp.arguments(FromProvider)
@idempotent()
@bp.response(201, IdentityOut)
def create_identity(given):
    """Link it, with what the provider's redirect carried."""
    require_recent_authentication()
    row, now = current_viewer().row, clock.now()
    began = pending_flows.find_session_flow("oidc_link", given["state"], row.session_id, now)
    return oidc_identities.link_identity(
        oidc_identities.fetch_provider_sign_in(began, given["code"], given["iss"], now), row.account_id, now
    )


@bp.route("/identities")
@bp.arguments(PageQuery, location="query")
@bp.response(200, page_of(IdentityOut))
def list_identities(asked):
    """Where else the account's owner signs in to come in here, the newest first."""
    return paginate_query(Identity.owned_by(current_viewer().account_id), Identity.id, asked, "identities")


@bp.route("/identities/<identity_id>", methods=["DELETE"])
@bp.response(204)
def delete_identity(identity_id):
    """Sign in with it no more. A link by mail, or a new password, is always left."""
    require_recent_authentication()
    identity = Identity.of(current_viewer().account_id, identity_id)
    if identity is None:
        raise NotFound
    oidc_identities.unlink_identity(identity, clock.now())
    db.session.commit()
