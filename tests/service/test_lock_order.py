"""Locks taken out of order raise in the sandbox; all other tests run with this check."""

import pytest

from streamsvc.models import Account, OperatorAccount
from streamsvc.models.catalog.titles import CatalogState
from streamsvc.models.subscriptions import InvoiceNumber, TaxRate
from streamsvc.storage import lock_order
from streamsvc.storage.database import db, lock_row
from streamsvc.storage.lock_order import LockOrderError


@pytest.fixture
def session(app):
    with app.app_context():
        yield db.session()
        db.session.rollback()


def test_an_account_is_locked_before_the_catalogue(session):
    lock_row(Account, "acc_1")
    lock_row(CatalogState, 1)
    with pytest.raises(LockOrderError, match=r"^ACCOUNT acc_2 must be locked before CATALOG 1$"):
        lock_row(Account, "acc_2")


def test_accounts_are_locked_in_the_order_of_their_ids(session):
    lock_row(Account, "acc_2")
    with pytest.raises(LockOrderError):
        lock_row(Account, "acc_1")


def test_a_lock_that_is_held_may_be_taken_again(session):
    lock_row(Account, "acc_1")
    InvoiceNumber.allocate("test")
    lock_row(Account, "acc_1")
    with pytest.raises(LockOrderError):
        lock_row(OperatorAccount, "op_1")


@pytest.mark.parametrize("end", ["commit", "rollback", "close"])
def test_the_end_of_a_transaction_releases_its_locks(session, end):
    lock_row(CatalogState, 1)
    getattr(session, end)()
    lock_row(Account, "acc_1")


def test_a_savepoint_keeps_the_locks_taken_before_it(session):
    lock_row(CatalogState, 1)
    session.begin_nested().rollback()
    with pytest.raises(LockOrderError):
        lock_row(Account, "acc_1")


def test_a_table_without_a_rank_cannot_be_locked(session):
    with pytest.raises(LockOrderError, match=r"give the rows of tax_rates a rank"):
        lock_row(TaxRate, "US")


def test_without_a_check_nothing_is_noted(session, monkeypatch):
    monkeypatch.setattr(lock_order, "_checked_sessions", set())
    lock_row(CatalogState, 1)
    lock_row(Account, "acc_1")
