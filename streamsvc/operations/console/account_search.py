"""Finding an account by whatever somebody on the phone knows: part of the email address or name, a card, an invoice.

A whole email address, an id, an invoice number and what an app store calls an account, a purchase or a payment are
found by their indexes. Anything else is compared with the accounts themselves, newest first, at most `MAX_SCANNED` of
them per page: the cursor continues after the last one that was compared, even if none of them matched.
"""

import re

import sqlalchemy as sa

from streamsvc.http import pagination
from streamsvc.models import Account, Profile
from streamsvc.models.accounts import GUEST
from streamsvc.models.subscriptions import (
    Invoice,
    Payment,
    PaymentMethod,
    StorePurchase,
    StoreSubscription,
    StoreTransaction,
    Subscription,
)
from streamsvc.rules.catalog.text import fold_text
from streamsvc.rules.emails import email_key
from streamsvc.rules.inputs import PageInput
from streamsvc.rules.stores.account_ids import parse_store_account_id
from streamsvc.rules.stores.state import SOURCES
from streamsvc.storage.database import db, fetch_all

SCOPE = "admin_accounts search"
MAX_SCANNED = 10_000
IS_ACCOUNT = Account.status != GUEST
OWNER_BY_PREFIX: dict[str, sa.Select | sa.CompoundSelect] = {
    "acc": sa.select(Account.id).where(Account.id == sa.bindparam("id")),
    "inv": sa.select(Invoice.account_id).where(Invoice.id == sa.bindparam("id")),
    "pay": sa.select(Payment.account_id).where(Payment.id == sa.bindparam("id")),
    "pro": sa.select(Profile.account_id).where(Profile.id == sa.bindparam("id")),
    "sub": sa.union_all(
        sa.select(Subscription.account_id).where(Subscription.id == sa.bindparam("id")),
        sa.select(StoreSubscription.account_id).where(StoreSubscription.id == sa.bindparam("id")),
    ),
}
"""Whose account an id leads to, by the id's prefix."""
OWNER_BY_NUMBER: sa.CompoundSelect = sa.union_all(
    sa.select(Invoice.account_id).where(Invoice.number == sa.func.upper(sa.bindparam("text"))),
    sa.select(StoreSubscription.account_id)
    .join(StorePurchase, StorePurchase.subscription_id == StoreSubscription.id)
    .where(StorePurchase.source.in_(SOURCES), StorePurchase.key == sa.bindparam("text")),
    sa.select(StoreTransaction.account_id).where(
        StoreTransaction.source.in_(SOURCES),
        StoreTransaction.id == sa.bindparam("text"),
        StoreTransaction.account_id.is_not(None),
    ),
)
"""Whose account the number of an invoice, or a store's name of a purchase or a payment, leads to."""


def search_accounts(text: str, query: PageInput) -> dict:
    """Return a page of the accounts that `text` fits, newest first: see the module for what is compared."""
    account_id = None if query["cursor"] else _find_owner(text)
    if account_id is not None:
        accounts = db.session.scalars(sa.select(Account).where(Account.id == account_id, IS_ACCOUNT)).all()
        return {"items": accounts, "next_cursor": None}
    return _scan_accounts(text, query)


def _find_owner(text: str) -> str | None:
    """Find the account that an id, a whole email address or a number stands for, by an index."""
    prefix = text.partition("_")[0]
    if prefix in OWNER_BY_PREFIX and re.fullmatch(r"[a-z]{3}_[0-9a-z]{26}", text):
        return db.session.scalar(OWNER_BY_PREFIX[prefix], {"id": text})
    if "@" in text:
        return db.session.scalar(sa.select(Account.id).where(Account.email_key == email_key(text)))
    if named := parse_store_account_id(text):
        return db.session.scalar(OWNER_BY_PREFIX["acc"], {"id": named})
    return db.session.scalar(OWNER_BY_NUMBER.limit(1), {"text": text})


def _scan_accounts(text: str, query: PageInput) -> dict:
    """Compare up to MAX_SCANNED accounts with the text, ignoring case and accents; four digits also with cards."""
    after, wanted = pagination.decode_cursor(SCOPE, query["cursor"]), fold_text(text)
    window = sa.select(Account.id, Account.email, Account.name).where(IS_ACCOUNT)
    if after:
        window = window.where(Account.id < after[0])
    rows = fetch_all(window.order_by(Account.id.desc()).limit(MAX_SCANNED))
    card_owners = _list_card_owners(text, rows[-1].id, rows[0].id) if rows and re.fullmatch(r"\d{4}", text) else set()
    found = [
        row.id
        for row in rows
        if row.id in card_owners or wanted in fold_text(row.email) or (row.name and wanted in fold_text(row.name))
    ]
    stopped_at = [rows[-1].id] if len(rows) == MAX_SCANNED else None
    page = pagination.build_page(found[: query["limit"] + 1], query["limit"], SCOPE, lambda id: [id], stopped_at)
    accounts = sa.select(Account).where(Account.id.in_(page["items"])).order_by(Account.id.desc())
    return page | {"items": db.session.scalars(accounts).all()}


def _list_card_owners(last4: str, lowest_id: str, highest_id: str) -> set[str]:
    """Return which accounts of the window have, or had, a card with these last digits."""
    in_window = PaymentMethod.account_id.between(lowest_id, highest_id)
    owners = sa.select(PaymentMethod.account_id).where(in_window, PaymentMethod.last4 == last4)
    return {row.account_id for row in fetch_all(owners)}
