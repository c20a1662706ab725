"""Sign-in with OpenID Connect providers (authorization code flow with PKCE).

An identity is the pair of issuer and subject. The email that a provider reports never decides which account it belongs
to: the owner links an identity while signed in and recently authenticated, or signs up with it.
"""

import json
import secrets
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from flask import current_app
from sqlalchemy.exc import IntegrityError

from streamsvc.gateways.oidc import PEER, OidcProvider
from streamsvc.gateways.peers import CallFailed, CallRejected, log_failure
from streamsvc.models import Account, Identity, PendingFlow
from streamsvc.operations.accounts import accounts
from streamsvc.operations.accounts.accounts import can_sign_in
from streamsvc.operations.credentials import pending_flows
from streamsvc.operations.credentials.factor_notices import enqueue_factor_added_mail
from streamsvc.operations.outbox import audit, mail, security_events
from streamsvc.rules.refusals.accounts import (
    EmailUnverified,
    IdentityTaken,
    IdentityUnknown,
    InvalidCredentials,
    TokenInvalid,
)
from streamsvc.rules.refusals.requests import NotFound, Unavailable
from streamsvc.security import encryption
from streamsvc.settings import current_settings
from streamsvc.storage.database import db, execute_in_session, execute_write, fetch_one, lock_existing_row

CALLBACK_PATH = "/v1/sessions/oidc-callback"
CLAIMS_WAIT_S, POLL_INTERVAL_S = 10.0, 0.05


@dataclass(frozen=True)
class ProviderSignIn:
    """A completed sign-in at a provider; `account_id` is the account that the identity is linked to, if any."""

    flow: sa.Row
    subject: str
    email: str | None
    account_id: str | None

    @property
    def provider(self) -> OidcProvider:
        return _get_provider(self.flow.data["provider"])


def list_provider_names() -> list[str]:
    return sorted(_configured_providers())


def start_provider_sign_in(
    kind: str, provider_name: str, now: datetime, sign_up: dict | None = None, **owner: Any
) -> str:
    """Start a flow at the provider, in the caller's transaction, and return the URL to send the browser to.

    `owner` is the `session_id` or `binding` that can complete it; `sign_up` has the fields of a new account, if one may
    be created. Raises NotFound, Unavailable.
    """
    state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
    try:
        provider = _get_provider(provider_name)
        url = provider.authorization_url(_redirect_uri(provider), state, nonce, verifier)
    except CallFailed as error:
        raise _provider_unavailable(error) from None
    data: dict[str, Any] = {
        "provider": provider_name,
        "nonce": nonce,
        "verifier": encryption.encrypt(verifier),
        "sign_up": sign_up,
    }
    pending_flows.start_flow(kind, state, now, **owner, **data)
    return url


def fetch_provider_sign_in(flow: sa.Row | None, code: str, issuer: str | None, now: datetime) -> ProviderSignIn:
    """Exchange the code for the identity that signed in at the provider.

    The provider accepts a code once, so one request claims the flow before it exchanges the code, and the claims are
    stored with the flow, for a repeated request with a second factor. Raises TokenInvalid, Unavailable.
    """
    if flow is None:
        raise TokenInvalid
    provider, claims = _get_provider(flow.data["provider"]), flow.data.get("claims")
    if claims is None and not PendingFlow.claim(flow.id, now):
        claims = _await_claims(flow.id)
    if claims is None:
        claims = _exchange_code(provider, flow, code, issuer, now)
    identity = fetch_one(
        sa.select(Identity.account_id).where(Identity.issuer == provider.issuer, Identity.subject == claims["subject"])
    )
    return ProviderSignIn(flow, claims["subject"], claims["email"], identity.account_id if identity else None)


def _exchange_code(provider: OidcProvider, flow: sa.Row, code: str, issuer: str | None, now: datetime) -> dict:
    """Exchange the code in a claimed flow, and store the claims. Raises TokenInvalid, Unavailable."""
    try:
        verifier = encryption.decrypt(flow.data["verifier"])
        id_token = provider.fetch_claims(code, issuer, _redirect_uri(provider), verifier, flow.data["nonce"])
    except CallFailed as error:
        PendingFlow.release(flow.id)
        raise _provider_unavailable(error) from None
    except CallRejected as error:
        audit.record_event("authn_login_fail", actor="anonymous", method=provider.name, why=str(error))
        PendingFlow.consume(flow.id, now)
        db.session.commit()
        raise TokenInvalid from None
    email = id_token.get("email") if id_token.get("email_verified") is True else None
    claims = {"subject": id_token["sub"], "email": email if isinstance(email, str) else None}
    _save_claims(flow, claims)
    return claims


def _await_claims(flow_id: str) -> dict:
    """Wait for the claims that another request exchanges. Raises TokenInvalid if they do not come in time."""
    deadline = time.monotonic() + CLAIMS_WAIT_S
    while True:
        flow = fetch_one(sa.select(PendingFlow.data, PendingFlow.used_at).where(PendingFlow.id == flow_id))
        if flow is None or flow.used_at or time.monotonic() > deadline:
            raise TokenInvalid
        if claims := flow.data.get("claims"):
            return claims
        time.sleep(POLL_INTERVAL_S)


def complete_provider_sign_in(provider_sign_in: ProviderSignIn, now: datetime) -> str:
    """Return the account that the identity is linked to, created first on sign-up; in the caller's transaction.

    Raises TokenInvalid, IdentityUnknown, EmailUnverified, EmailTaken, InvalidCredentials.
    """
    if not PendingFlow.consume(provider_sign_in.flow.id, now):
        raise TokenInvalid
    if provider_sign_in.account_id is None:
        return _create_account(provider_sign_in, now)
    if not can_sign_in(lock_existing_row(Account, provider_sign_in.account_id)):
        raise InvalidCredentials(detail="This identity cannot be used to sign in to an account here.")
    is_linked = (
        Identity.issuer == provider_sign_in.provider.issuer,
        Identity.subject == provider_sign_in.subject,
        Identity.account_id == provider_sign_in.account_id,
    )
    if execute_in_session(sa.update(Identity).where(*is_linked).values(last_used_at=now)) != 1:
        raise TokenInvalid
    return provider_sign_in.account_id


def link_identity(provider_sign_in: ProviderSignIn, account_id: str, session_id: str, now: datetime) -> Identity:
    """Link the identity to the account and notify the owner by mail. Raises TokenInvalid, IdentityTaken."""
    if not PendingFlow.consume(provider_sign_in.flow.id, now):
        raise TokenInvalid
    email = lock_existing_row(Account, account_id).email
    identity = _create_identity(provider_sign_in, account_id, now)
    identity.added_by_session_id = session_id
    enqueue_factor_added_mail(email, account_id, session_id, f"Sign-in with {identity.provider}", now)
    return identity


def unlink_identity(identity: Identity, now: datetime) -> None:
    """Unlink the identity and notify the owner by mail."""
    audit.record_event("identity_unlinked", identity.account_id, provider=identity.provider, identity=identity.id)
    security_events.publish_factor_removed(identity.account_id, "provider", identity.id, identity.provider)
    mail.enqueue_mail(
        "factor_removed", _account_email(identity.account_id), now, factor=f"Sign-in with {identity.provider}"
    )
    db.session.delete(identity)


def _create_account(provider_sign_in: ProviderSignIn, now: datetime) -> str:
    """Create an account without a password, with the address that the provider verified, and link the identity.

    Raises IdentityUnknown, EmailUnverified, EmailTaken.
    """
    sign_up = provider_sign_in.flow.data["sign_up"]
    if sign_up is None:
        raise IdentityUnknown
    if provider_sign_in.email is None:
        raise EmailUnverified
    new_account = accounts.NewAccount(email=provider_sign_in.email, password_hash=None, **sign_up)
    account_id = accounts.create_account(new_account, now, verified=True)
    _create_identity(provider_sign_in, account_id, now).last_used_at = now
    return account_id


def _create_identity(provider_sign_in: ProviderSignIn, account_id: str, now: datetime) -> Identity:
    """Link an identity. Raises IdentityTaken, which the unique index decides."""
    provider = provider_sign_in.provider
    identity = Identity(account_id=account_id, provider=provider.name, issuer=provider.issuer)
    identity.subject, identity.email, identity.created_at = provider_sign_in.subject, provider_sign_in.email, now
    db.session.add(identity)
    try:
        db.session.flush()
    except IntegrityError:
        db.session.rollback()
        raise IdentityTaken from None
    audit.record_event("identity_linked", account_id, provider=identity.provider, identity=identity.id)
    security_events.publish_factor_added(account_id, "provider", identity.id, identity.provider)
    return identity


def _save_claims(flow: sa.Row, claims: dict) -> None:
    """Store the claims in a transaction of its own, since the provider returns them once only."""
    is_unused = (PendingFlow.id == flow.id, PendingFlow.used_at.is_(None))
    data = flow.data | {"claims": claims, "verifier": None}
    execute_write(sa.update(PendingFlow).where(*is_unused).values(data=data))


def _account_email(account_id: str) -> str:
    return db.session.get_one(Account, account_id).email


def _configured_providers() -> dict[str, OidcProvider]:
    text = current_settings().oidc_providers
    return {name: OidcProvider(name, **fields) for name, fields in json.loads(text or "{}").items()}


def _get_provider(name: str) -> OidcProvider:
    provider = _configured_providers().get(name)
    if provider is None:
        raise NotFound
    return provider


def _redirect_uri(provider: OidcProvider) -> str:
    return form_post_url() if provider.response_mode == "form_post" else front_end_redirect_url()


def form_post_url() -> str:
    """Return the redirect URI of providers that respond by form post."""
    return f"{current_app.extensions['settings'].public_url}{CALLBACK_PATH}"


def front_end_redirect_url() -> str:
    """Return the redirect URI of all other providers: a page of the front end."""
    settings = current_settings()
    return settings.oidc_redirect_url or f"{settings.public_url}/"


def _provider_unavailable(error: CallFailed) -> Unavailable:
    log_failure(PEER.name, str(error))
    return Unavailable(detail="The provider is not responding. Try again shortly.")
