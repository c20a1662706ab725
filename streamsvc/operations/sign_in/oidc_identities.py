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

from streamsvc.gateways.oidc import Away, Provider, Refused
from streamsvc.models import Account, Ceremony, Identity
from streamsvc.operations.accounts import accounts
from streamsvc.operations.accounts.accounts import may_sign_in
from streamsvc.operations.credentials import ceremonies
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
from streamsvc.storage.database import affected, db, lock, one_row

CALLBACK = "/v1/sessions/oidc-callback"


@dataclass(frozen=True)
class Told:
    """What a provider told of who signed in there; `account_id`: whose identity it is here, if anybody's."""

    ceremony: sa.Row
    subject: str
    email: str | None
    account_id: str | None

    @property
    def provider(self) -> Provider:
        return _provider(self.ceremony.data["provider"])


def provider_names() -> list[str]:
    return sorted(_configured())


def begin(kind: str, provider_name: str, now: datetime, sign_up: dict | None = None, **who) -> str:
    """Where the browser goes, in the caller's unit of work. Raises NotFound, Unavailable."""
    state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
    try:
        provider = _provider(provider_name)
        url = provider.authorization_url(_redirect_uri(provider), state, nonce, verifier)
    except Away as error:
        raise _unavailable(error) from None
    kept = {"provider": provider_name, "nonce": nonce, "verifier": encryption.seal(verifier), "sign_up": sign_up}
    ceremonies.begin(kind, state, now, **who, **kept)
    return url


def told(began: sa.Row | None, code: str, issuer: str | None, now: datetime) -> Told:
    """Who signed in at the provider. Its code is used up; asked again, for a second proof, the answer is remembered.

    Raises TokenInvalid, Unavailable.
    """
    if began is None:
        raise TokenInvalid
    provider, known = _provider(began.data["provider"]), began.data.get("told")
    if known is None:
        try:
            verifier = encryption.unseal(began.data["verifier"])
            claims = provider.claims(code, issuer, _redirect_uri(provider), verifier, began.data["nonce"])
        except Away as error:
            raise _unavailable(error) from None
        except Refused as error:
            audit.record("authn_login_fail", actor="anonymous", method=provider.name, why=str(error))
            Ceremony.use(began.id, now)
            db.session.commit()
            raise TokenInvalid from None
        email = claims.get("email") if claims.get("email_verified") is True else None
        known = {"subject": claims["sub"], "email": email if isinstance(email, str) else None}
        _remember(began, known)
    owner = sa.select(Identity.account_id).where(
        Identity.issuer == provider.issuer, Identity.subject == known["subject"]
    )
    found = one_row(owner)
    return Told(began, known["subject"], known["email"], found and found.account_id)


def use(told: Told, now: datetime) -> str:
    """The account that the identity opens, or that it signs up, in the caller's unit of work.

    Raises TokenInvalid, IdentityUnknown, EmailUnverified, EmailTaken, InvalidCredentials.
    """
    if not Ceremony.use(told.ceremony.id, now):
        raise TokenInvalid
    if told.account_id is None:
        return _signed_up(told, now)
    if not may_sign_in(lock(Account, told.account_id)):
        raise InvalidCredentials(detail="This identity does not open an account here.")
    mine = (Identity.issuer == told.provider.issuer, Identity.subject == told.subject)
    mine += (Identity.account_id == told.account_id,)
    if db.session.execute(sa.update(Identity).where(*mine).values(last_used_at=now)).rowcount != 1:
        raise TokenInvalid
    return told.account_id


def link(told: Told, account_id: str, now: datetime) -> Identity:
    """From now on the identity opens this account. Raises TokenInvalid, IdentityTaken."""
    if not Ceremony.use(told.ceremony.id, now):
        raise TokenInvalid
    identity = _kept(told, account_id, now)
    mail.post("factor_added", _email_of(account_id), now, factor=f"Sign-in with {identity.provider}")
    return identity


def unlink(identity: Identity, now: datetime) -> None:
    """From now on it opens nothing."""
    audit.record("identity_unlinked", identity.account_id, provider=identity.provider, identity=identity.id)
    mail.post("factor_removed", _email_of(identity.account_id), now, factor=f"Sign-in with {identity.provider}")
    db.session.delete(identity)


def _signed_up(told: Told, now: datetime) -> str:
    """An account without a password, whose address the provider has confirmed."""
    if told.ceremony.data["sign_up"] is None:
        raise IdentityUnknown
    if told.email is None:
        raise EmailUnverified
    new = accounts.NewAccount(email=told.email, password_hash=None, **told.ceremony.data["sign_up"])
    account_id = accounts.open_account(new, now, verified=True)
    _kept(told, account_id, now).last_used_at = now
    return account_id


def _kept(told: Told, account_id: str, now: datetime) -> Identity:
    """The unique index decides whose it is."""
    identity = Identity(account_id=account_id, provider=told.provider.name, issuer=told.provider.issuer)
    identity.subject, identity.email, identity.created_at = told.subject, told.email, now
    db.session.add(identity)
    try:
        db.session.flush()
    except IntegrityError:
        db.session.rollback()
        raise IdentityTaken from None
    audit.record("identity_linked", account_id, provider=identity.provider, identity=identity.id)
    return identity


def _remember(began: sa.Row, known: dict) -> None:
    """In a statement of its own: the provider gives it once."""
    unused = (Ceremony.id == began.id, Ceremony.used_at.is_(None))
    affected(sa.update(Ceremony).where(*unused).values(data=began.data | {"told": known, "verifier": None}))


def _email_of(account_id: str) -> str:
    return db.session.get(Account, account_id).email


def _configured() -> dict[str, Provider]:
    text = current_app.extensions["settings"].oidc_providers
    return {name: Provider(name, **told) for name, told in json.loads(text or "{}").items()}


def _provider(name: str) -> Provider:
    found = _configured().get(name)
    if found is None:
        raise NotFound
    return found


def _redirect_uri(provider: Provider) -> str:
    return form_receiver() if provider.response_mode == "form_post" else front_end_page()


def form_receiver() -> str:
    """Where providers that answer by form post have the browser send it."""
    return f"{current_app.extensions['settings'].public_url}{CALLBACK}"


def front_end_page() -> str:
    settings = current_app.extensions["settings"]
    return settings.oidc_redirect_url or f"{settings.public_url}/"


def _unavailable(error: Away) -> Unavailable:
    current_app.logger.warning("provider away: %s", error)
    return Unavailable(detail="The provider does not answer just now; try again shortly.")
