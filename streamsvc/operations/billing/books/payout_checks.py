"""Checks of payouts: their parts, the ledger, and that no more money goes back than came in."""

from collections.abc import Iterator

import sqlalchemy as sa

from streamsvc.models.subscriptions import LedgerEntry, Payout, Refund
from streamsvc.operations.billing.books.checks import Difference, of_account
from streamsvc.operations.billing.core.ledger import KEPT_BOOKS
from streamsvc.storage.database import db, fetch_all


def check_payout_totals(account_id: str | None = None) -> Iterator[Difference]:
    """Check that the ledger has each payout at the sum of those of its parts that did not fail."""
    zero = sa.literal(0)
    is_transferred = Payout.bank_transfer_status.in_(("pending", "paid"))
    transfers = sa.select(Payout.id.label("payout"), Payout.bank_transfer_minor.label("kept"), zero.label("posted"))
    refunds = sa.select(Payout.id, Refund.amount_minor, zero).join(Refund, Refund.payout_id == Payout.id)
    is_credit = LedgerEntry.kind == "payout", LedgerEntry.book == "customer_credit"
    posted = sa.select(LedgerEntry.note, zero, LedgerEntry.amount_minor).where(*is_credit)
    parts = (
        of_account(transfers.where(is_transferred), Payout.account_id, account_id),
        of_account(refunds.where(Refund.status != "failed"), Payout.account_id, account_id),
        of_account(posted, LedgerEntry.account_id, account_id),
    )
    union = sa.union_all(*parts).subquery().c
    sums = sa.func.sum(union.kept), sa.func.sum(union.posted)
    differing = sa.select(union.payout, *sums).group_by(union.payout).having(sums[0] != sums[1])
    for payout_id, kept_minor, posted_minor in fetch_all(differing):
        payout = db.session.get(Payout, payout_id)
        owner_id = payout.account_id if payout else account_id
        yield Difference("a payout matches the ledger", payout_id, int(kept_minor), int(posted_minor), owner_id)


def check_money_paid_out(account_id: str | None = None) -> Iterator[Difference]:
    """Check that no account got back more money than it had paid, but for what an operator has forced.

    Only accounts with a payout are checked, since all else that goes back is a part of a payment. What went back
    although it was paid out before, by a chargeback, counts as kept: it is owed again, or written off.
    """
    zero, owner, currency = sa.literal(0), LedgerEntry.account_id, LedgerEntry.currency
    kept = sa.select(owner, currency, LedgerEntry.amount_minor.label("kept"), zero.label("forced"))
    kept = kept.where(LedgerEntry.book.in_(KEPT_BOOKS), owner.in_(sa.select(Payout.account_id)))
    forced = sa.select(Payout.account_id, Payout.currency, zero, Payout.forced_minor).where(Payout.status != "failed")
    parts = (of_account(kept, owner, account_id), of_account(forced, Payout.account_id, account_id))
    union = sa.union_all(*parts).subquery().c
    sums = sa.func.sum(union.kept), sa.func.sum(union.forced)
    differing = sa.select(union.account_id, *sums).group_by(union.account_id, union.currency)
    for owner_id, kept_minor, forced_minor in fetch_all(differing.having(sums[0] + sums[1] < 0)):
        expected, found = -int(forced_minor), int(kept_minor)
        yield Difference("no account gets back more than it paid", owner_id, expected, found, owner_id)
