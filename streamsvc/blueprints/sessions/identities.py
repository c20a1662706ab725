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
from streamsvc.http.pagination import rows_page
from streamsvc.models import Identity
from streamsvc.operations.credentials import ceremonies, second_factor, trusted_devices
from streamsvc.operations.credentials.attempts import count_by_address
from streamsvc.operations.sign_in import oidc_identities, password
from streamsvc.rules import rate_limits as limits
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.rules.sign_in.sessions import TOKEN_PREFIX
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
from streamsvc.security.authentication import public, require_recent_proof, viewer
from streamsvc.storage.database import db

bp = Blueprint("identities", __name__, url_prefix="/v1", description="Sign-in with accounts at other providers.")


@bp.route("/identity-providers")
@public
@bp.response(200, Providers)
def list_providers():
    """Who else may say who signs in."""
    return {"items": [{"name": name} for name in oidc_identities.provider_names()], "next_cursor": None}


@bp.route("/sessions/oidc-options", methods=["POST"])
@bp.arguments(OidcOptions)
@public
@bp.response(200, AuthorizationUrl)
def create_sign_in_options(given):
    """Begin to sign in at a provider; with `sign_up`, an account is opened where none is linked yet."""
    count_by_address(limits.CHALLENGES_BY_ADDRESS)
    binding, now = binding_for(given["cookie"]), clock.now()
    url = oidc_identities.begin("oidc_sign_in", given["provider"], now, given["sign_up"], binding=binding)
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
    count_by_address(limits.CHALLENGES_BY_ADDRESS)
    return redirect(f"{oidc_identities.front_end_page()}#{urlencode(posted)}", 303)


@bp.route("/sessions/oidc", methods=["POST"])
@bp.arguments(OidcSignIn)
@public
@token_as_cookie_if_asked
@idempotent()
@bp.response(201, SignedIn)
def create_session(given):
    """Sign in with what the provider's redirect carried, where it was begun. A second factor is asked for as ever."""
    count_by_address(limits.CHALLENGES_BY_ADDRESS)
    now, (device, given["device_trust"]) = clock.now(), device_of(given)
    began = ceremonies.of_browser("oidc_sign_in", given["state"], binding_of(given), True, now)
    told = oidc_identities.told(began, given["code"], given["iss"], now)
    second = None
    if told.account_id:
        account = password.candidate(told.account_id, device and device.get("id"))
        second = second_factor.check_by_app(account, given, now)
    account_id = oidc_identities.use(told, now)
    token = TOKEN_PREFIX + idempotency.new_secret()
    proof = {"method": told.provider.name, "second": second}
    notify = told.account_id is not None
    session = password.open_session(account_id, device, given["remember"], token, now, notify, **proof)
    trust = trusted_devices.trust_if_asked(session, given["trust_device"], second, now)
    return signed_in(token, given["cookie"], trust)


@bp.route("/identities/options", methods=["POST"])
@bp.arguments(LinkOptions)
@bp.response(200, AuthorizationUrl)
def create_link_options(given):
    """Begin to link an account at a provider to this one."""
    require_recent_proof()
    url = oidc_identities.begin("oidc_link", given["provider"], clock.now(), session_id=viewer().row.session_id)
    db.session.commit()
    return {"authorization_url": url}


@bp.route("/identities", methods=["POST"])
@bp.arguments(FromProvider)
@idempotent()
@bp.response(201, IdentityOut)
def create_identity(given):
    """Link it, with what the provider's redirect carried."""
    require_recent_proof()
    row, now = viewer().row, clock.now()
    began = ceremonies.of_session("oidc_link", given["state"], row.session_id, now)
    return oidc_identities.link(oidc_identities.told(began, given["code"], given["iss"], now), row.account_id, now)


@bp.route("/identities")
@bp.arguments(PageQuery, location="query")
@bp.response(200, page_of(IdentityOut))
def list_identities(asked):
    """Where else the account's owner signs in to come in here, the newest first."""
    return rows_page(Identity.kept(viewer().account_id), Identity.id, asked, "identities")


@bp.route("/identities/<identity_id>", methods=["DELETE"])
@bp.response(204)
def delete_identity(identity_id):
    """Sign in with it no more. A link by mail, or a new password, is always left."""
    require_recent_proof()
    identity = Identity.of(viewer().account_id, identity_id)
    if identity is None:
        raise NotFound
    oidc_identities.unlink(identity, clock.now())
    db.session.commit()
