"""The unit of work: what is postponed, what is answered from preloaded rows, and what any query sees nevertheless."""

from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from streamsvc.models import Account
from streamsvc.models.subscriptions import ReferralReward, TaxRate
from streamsvc.storage.database import db, lock_existing_row, lock_row, reload_row
from streamsvc.storage.unit_of_work import unit_of_work

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def session(app):
    with app.app_context():
        yield db.session()
        db.session.rollback()


@contextmanager
def recorded_statements():
    statements = []

    def record(connection, cursor, statement, *_):
        if not statement.startswith("BEGIN"):
            statements.append(statement.split()[0])

    event.listen(db.engine, "before_cursor_execute", record)
    try:
        yield statements
    finally:
        event.remove(db.engine, "before_cursor_execute", record)


def add_rate(country, rate_ppm=0):
    """Add a row as code for a single row does."""
    rate = TaxRate(country=country, rate_ppm=rate_ppm, name="Tax", updated_at=NOW)
    db.session.add(rate)
    db.session.flush()
    return rate


def add_reward(currency):
    reward = ReferralReward(currency=currency, referrer_minor=1, newcomer_minor=1, updated_at=NOW)
    db.session.add(reward)
    db.session.flush()
    return reward


def countries():
    return sorted(db.session.scalars(sa.select(TaxRate.country).where(TaxRate.country.like("X%"))))


def test_rows_added_one_by_one_are_inserted_together_at_the_end(session):
    with recorded_statements() as statements:
        with unit_of_work(session):
            for country in ("XA", "XB", "XC"):
                add_rate(country)
            assert statements == []
        assert statements == ["INSERT"]
    assert countries() == ["XA", "XB", "XC"]
    with recorded_statements() as statements:
        add_rate("XD")
        assert statements == ["INSERT"]


def test_a_query_within_the_block_sees_what_was_added_before(session):
    with unit_of_work(session):
        add_rate("XA")
        assert countries() == ["XA"]
        add_rate("XB").rate_ppm = 5
        assert countries() == ["XA", "XB"]
    assert db.session.scalar(sa.select(TaxRate.rate_ppm).where(TaxRate.country == "XB")) == 5


def test_preloaded_rows_are_read_without_a_query_also_if_they_do_not_exist(session):
    stored = add_reward("XXA")
    with unit_of_work(session) as work, recorded_statements() as statements:
        work.preload_rows(ReferralReward, ["XXA", "XXB"], [stored])
        assert db.session.get(ReferralReward, "XXA") is stored
        assert db.session.get(ReferralReward, "XXA", with_for_update=True, populate_existing=True) is stored
        assert db.session.get(ReferralReward, "XXB") is None
        added = add_reward("XXB")
        assert db.session.get(ReferralReward, "XXB") is added
        assert statements == []
        assert db.session.get(ReferralReward, "XXC") is None
        assert statements == ["INSERT", "SELECT"]


def test_a_preloaded_list_includes_new_rows_of_its_value(session):
    stored = add_rate("XA", 5)
    assert session.preloaded(TaxRate.rate_ppm, 5) is None
    with unit_of_work(session) as work:
        work.preload_lists(TaxRate.rate_ppm, [5, 6], [stored])
        added = add_rate("XB", 5)
        add_rate("XC", 7)
        session.insert_rows(TaxRate, [{"country": "XD", "rate_ppm": 6, "name": "Tax", "updated_at": NOW}])
        assert session.preloaded(TaxRate.rate_ppm, 5) == [stored, added]
        assert [row["country"] for row in session.preloaded(TaxRate.rate_ppm, 6)] == ["XD"]
        assert session.preloaded(TaxRate.rate_ppm, 7) is None
        assert countries() == ["XA", "XB", "XC", "XD"]


def test_an_action_runs_once_for_all_items_before_they_are_written(session):
    def name_rates(rates):
        calls.append(len(rates))
        for rate in rates:
            rate.name = "Named"

    calls = []
    with recorded_statements() as statements:
        with unit_of_work(session):
            for country in ("XA", "XB"):
                session.collect(name_rates, add_rate(country))
            assert calls == []
        assert (calls, statements) == ([2], ["INSERT"])
    assert set(db.session.scalars(sa.select(TaxRate.name).where(TaxRate.country.like("X%")))) == {"Named"}
    session.collect(name_rates, add_rate("XC"))
    assert calls == [2, 1]


def test_a_failed_block_writes_nothing_and_leaves_the_session_as_it_was(session):
    with pytest.raises(ZeroDivisionError), unit_of_work(session):
        add_rate("XA")
        raise ZeroDivisionError
    db.session.rollback()
    assert countries() == []
    with recorded_statements() as statements:
        add_rate("XB")
        assert statements == ["INSERT"]


@pytest.mark.parametrize("read", [reload_row, lock_existing_row, lock_row])
def test_a_row_that_the_session_has_is_read_again_where_others_may_have_changed_it(session, read):
    here = {"country": "DE", "time_zone": "UTC", "locale": "en"}
    held = Account(email="ann@example.com", email_key="ann@example.com", created_at=NOW, **here)
    session.add(held)
    session.flush()
    change = sa.update(Account).where(Account.id == held.id).values(country="AT")
    session.execute(change.execution_options(synchronize_session=False))  # as unnoticed as another transaction's
    assert held.country == "DE"
    assert read(Account, held.id).country == "AT"
