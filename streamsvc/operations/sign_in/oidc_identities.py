"""Accounts at other providers that sign in here (OpenID Connect, authorization code with PKCE).

An identity is the pair of issuer and subject. What e-mail the provider tells decides nothing about whose account it
is: an account is linked by its owner, signed in and asked anew, or opened by a sign-up that says so.
"""

import json
import secrets
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from flask import current_app
from sqlalchemy.exc import IntegrityError

from streamsvc.gateways.oidc import CallFailed, CallRejected, OidcProvider
from streamsvc.models import Account, Identity, PendingFlow
from streamsvc.operations.accounts import accounts
from streamsvc.operations.accounts.accounts import can_sign_in
from streamsvc.operations.credentials import pending_flows
from streamsvc.operations.outbox import audit, mail
from streamsvc.rules.refusals.accounts import (
    EmailUnverified,
    IdentityTaken,
    IdentityUnknown,
    InvalidCredentials,
    TokenInvalid,
)
from streamsvc.rules.refusals.requests import NotFound, Unavailable
from streamsvc.security import encryption
from streamsvc.storage.database import db, execute_write, fetch_one, lock_row

CALLBACK_PATH = "/v1/sessions/oidc-callback"


@dataclass(frozen=True)
class ProviderSignIn:
    """What a provider told of who signed in there; `account_id`: whose identity it is here, if anybody's."""

    flow: sa.Row
    subject: str
    email: str | None
    account_id: str | None

    @property
    def provider(self) -> OidcProvider:
        return _get_provider(self.flow.data["provider"])


def list_provider_names() -> list[str]:
    return sorted(_configured_providers())


def start_provider_sign_in(kind: str, provider_name: str, now: datetime, sign_up: dict | None = None, **owner) -> str:
    """Where the browser goes, in the caller's unit of work. Raises NotFound, Unavailable."""
    state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
    try:
        provider = _get_provider(provider_name)
        url = provider.authorization_url(_redirect_uri(provider), state, nonce, verifier)
    except CallFailed as error:
        raise _provider_unavailable(error) from None
    kept = {"provider": provider_name, "nonce": nonce, "verifier": encryption.encrypt(verifier), "sign_up": sign_up}
    pending_flows.start_flow(kind, state, now, **owner, **kept)
    return url


def fetch_provider_sign_in(flow: sa.Row | None, code: str, issuer: str | None, now: datetime) -> ProviderSignIn:
    """Who signed in at the provider. Its code is used up; asked again, for a second proof, the answer is remembered.

    Raises TokenInvalid, Unavailable.
    """
    if flow is None:
        raise TokenInvalid
    provider, known = _get_provider(flow.data["provider"]), flow.data.get("told")
    if known is None:
        try:
            verifier = encryption.decrypt(flow.data["verifier"])
            claims = provider.fetch_claims(code, issuer, _redirect_uri(provider), verifier, flow.data["nonce"])
        except CallFailed as error:
            raise _provider_unavailable(error) from None
        except CallRejected as error:
            audit.record_event("authn_login_fail", actor="anonymous", method=provider.name, why=str(error))
            PendingFlow.consume(flow.id, now)
            db.session.commit()
            raise TokenInvalid from None
        email = claims.get("email") if claims.get("email_verified") is True else None
        known = {"subject": claims["sub"], "email": email if isinstance(email, str) else None}
        _save_claims(flow, known)
    owner = sa.select(Identity.account_id).where(
        Identity.issuer == provider.issuer, Identity.subject == known["subject"]
    )
    found = fetch_one(owner)
    return ProviderSignIn(flow, known["subject"], known["email"], found and found.account_id)


def complete_provider_sign_in(provider_sign_in: ProviderSignIn, now: datetime) -> str:
    """The account that the identity opens, or that it signs up, in the caller's unit of work.

    Raises TokenInvalid, IdentityUnknown, EmailUnverified, EmailTaken, InvalidCredentials.
    """
    if not PendingFlow.consume(provider_sign_in.flow.id, now):
        raise TokenInvalid
    if provider_sign_in.account_id is None:
        return _create_account(provider_sign_in, now)
    if not can_sign_in(lock_row(Account, provider_sign_in.account_id)):
        raise InvalidCredentials(detail="This identity does not open an account here.")
    mine = (Identity.issuer == provider_sign_in.provider.issuer, Identity.subject == provider_sign_in.subject)
    mine += (Identity.account_id == provider_sign_in.account_id,)
    if db.session.execute(sa.update(Identity).where(*mine).values(last_used_at=now)).rowcount != 1:
        raise TokenInvalid
    return provider_sign_in.account_id


def link_identity(provider_sign_in: ProviderSignIn, account_id: str, now: datetime) -> Identity:
    """From now on the identity opens this account. Raises TokenInvalid, IdentityTaken."""
    if not PendingFlow.consume(provider_sign_in.flow.id, now):
        raise TokenInvalid
    identity = _create_identity(provider_sign_in, account_id, now)
    mail.enqueue_mail("factor_added", _account_email(account_id), now, factor=f"Sign-in with {identity.provider}")
    return identity


def unlink_identity(identity: Identity, now: datetime) -> None:
    """From now on it opens nothing."""
    audit.record_event("identity_unlinked", identity.account_id, provider=identity.provider, identity=identity.id)
    mail.enqueue_mail(
        "factor_removed", _account_email(identity.account_id), now, factor=f"Sign-in with {identity.provider}"
    )
    db.session.delete(identity)


def _create_account(provider_sign_in: ProviderSignIn, now: datetime) -> str:
    """An account without a password, whose address the provider has confirmed."""
    if provider_sign_in.flow.data["sign_up"] is None:
        raise IdentityUnknown
    if provider_sign_in.email is None:
        raise EmailUnverified
    new = accounts.NewAccount(email=provider_sign_in.email, password_hash=None, **provider_sign_in.flow.data["sign_up"])
    account_id = accounts.create_account(new, now, verified=True)
    _create_identity(provider_sign_in, account_id, now).last_used_at = now
    return account_id


def _create_identity(provider_sign_in: ProviderSignIn, account_id: str, now: datetime) -> Identity:
    """The unique index decides whose it is."""
    identity = Identity(
        account_id=account_id, provider=provider_sign_in.provider.name, issuer=provider_sign_in.provider.issuer
    )
    identity.subject, identity.email, identity.created_at = provider_sign_in.subject, provider_sign_in.email, now
    db.session.add(identity)
    try:
        db.session.flush()
    except IntegrityError:
        db.session.rollback()
        raise IdentityTaken from None
    audit.record_event("identity_linked", account_id, provider=identity.provider, identity=identity.id)
    return identity


def _save_claims(flow: sa.Row, claims: dict) -> None:
    """In a statement of its own: the provider gives it once."""
    unused = (PendingFlow.id == flow.id, PendingFlow.used_at.is_(None))
    execute_write(sa.update(PendingFlow).where(*unused).values(data=flow.data | {"told": claims, "verifier": None}))


def _account_email(account_id: str) -> str:
    return db.session.get(Account, account_id).email


def _configured_providers() -> dict[str, OidcProvider]:
    text = current_app.extensions["settings"].oidc_providers
    return {name: OidcProvider(name, **told) for name, told in json.loads(text or "{}").items()}


def _get_provider(name: str) -> OidcProvider:
    found = _configured_providers().get(name)
    if found is None:
        raise NotFound
    return found


def _redirect_uri(provider: OidcProvider) -> str:
    return form_post_url() if provider.response_mode == "form_post" else front_end_redirect_url()


def form_post_url() -> str:
    """Where providers that answer by form post have the browser send it."""
    return f"{current_app.extensions['settings'].public_url}{CALLBACK_PATH}"


def front_end_redirect_url() -> str:
    settings = current_app.extensions["settings"]
    return settings.oidc_redirect_url or f"{settings.public_url}/"


def _provider_unavailable(error: CallFailed) -> Unavailable:
    current_app.logger.warning("provider away: %s", error)
    return Unavailable(detail="The provider does not answer just now; try again shortly.")
