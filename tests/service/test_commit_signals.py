"""Signals about a transaction are sent once it is committed, and not at all if it is rolled back."""

import sqlalchemy as sa
from blinker import Signal

from streamsvc.storage.commit_signals import send_after_commit
from streamsvc.storage.database import db

WRITE = sa.text("UPDATE jobs SET lane = lane")


def test_a_signal_is_sent_by_the_commit_of_its_transaction_alone(app):
    signal, sent = Signal(), []

    @signal.connect
    def receive(_, number):
        sent.append(number)

    with app.app_context():
        db.session.execute(WRITE)
        send_after_commit(signal, number=1)
        assert sent == [], "not yet committed"
        db.session.rollback()
        db.session.execute(WRITE)
        db.session.commit()
        assert sent == [], "rolled back"
        db.session.execute(WRITE)
        send_after_commit(signal, number=2)
        db.session.commit()
        db.session.execute(WRITE)
        db.session.commit()
    assert sent == [2]
