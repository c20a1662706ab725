"""Moves a profile to another account with its history, watchlist and ratings, by a mailed token.

Progress, plays, watchlist and ratings belong to the profile, so they move with its row. Streams stay with the account
that paid for them.
"""

from datetime import datetime

import sqlalchemy as sa

from streamsvc.models import Account, MailedToken, Profile
from streamsvc.operations.accounts import profiles
from streamsvc.operations.credentials.account_limits import clear_pin_limits
from streamsvc.operations.outbox import audit, mail
from streamsvc.rules import rate_limits as limits
from streamsvc.rules.emails import email_key
from streamsvc.rules.refusals.accounts import LastProfile, TokenInvalid
from streamsvc.rules.sign_in.sessions import hash_token
from streamsvc.security import rate_limits
from streamsvc.settings import current_settings
from streamsvc.storage.database import db, lock_row

TOKEN_KIND = "profile_transfer"


def count_transfer_mail(account_id: str, email: str) -> None:
    """Count a mail that an account sends to somebody else's address. Raises TooManyAttempts.

    Must not be called inside a transaction.
    """
    if current_settings().login_throttle:
        own = (limits.PROFILE_TRANSFERS_BY_ACCOUNT, account_id)
        rate_limits.hit_all([own, (limits.PROFILE_TRANSFERS_TO_ADDRESS, email_key(email))])


def offer_profile(profile: Profile, email: str, now: datetime) -> None:
    """Mail a token that moves the profile to the account that redeems it, and revoke earlier ones, in the caller's
    transaction. Raises LastProfile."""
    if len(Profile.list_owned(profile.account_id)) == 1:
        raise LastProfile
    withdraw_offers(profile, now)
    context = {"profile": profile.name}
    mail.enqueue_token_mail(TOKEN_KIND, email, profile.account_id, now, profile_id=profile.id, context=context)
    audit.record_event("profile_offered", profile.account_id, profile=profile.id, to=email)


def withdraw_offers(profile: Profile, now: datetime) -> None:
    """Revoke the tokens that would move the profile, in the caller's transaction."""
    is_about_profile = MailedToken.data["profile_id"].as_string() == profile.id
    MailedToken.revoke_matching(profile.account_id, now, MailedToken.kind == TOKEN_KIND, is_about_profile)


def take_profile(token: str, account_id: str, max_profiles: int, now: datetime) -> tuple[Profile, str]:
    """Move the token's profile into an account, in the caller's transaction; return it and its former account's id.

    It arrives without PIN and restrictions, which were the former owner's. Raises TokenInvalid, LastProfile,
    ProfileLimit.
    """
    token_hash = hash_token(token)
    is_offer = (MailedToken.kind == TOKEN_KIND, MailedToken.token_hash == token_hash)
    former_id = db.session.scalar(sa.select(MailedToken.account_id).where(*is_offer, *MailedToken.open_conditions(now)))
    if former_id in (None, account_id):
        raise TokenInvalid
    for locked_id in sorted((former_id, account_id)):
        lock_row(Account, locked_id)
    offer = MailedToken.consume(TOKEN_KIND, token_hash, now)
    former = db.session.get_one(Account, former_id)
    profile = Profile.find_owned(former_id, offer.data["profile_id"]) if offer and former.status == "active" else None
    if profile is None:
        raise TokenInvalid
    if len(Profile.list_owned(former_id)) == 1:
        raise LastProfile
    profiles.require_room(account_id, max_profiles)
    profiles.deselect_profiles(profile.id)
    clear_pin_limits(former_id, [profile.id])
    profile.account_id, profile.pin_hash, profile.restrictions = account_id, None, None
    audit.record_event("profile_moved_away", former_id, profile=profile.id)
    audit.record_event("profile_moved_here", account_id, profile=profile.id)
    return profile, former_id
