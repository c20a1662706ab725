"""Lets one request commit while another is about to lock an account that it has already read."""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import event

from streamsvc.storage.database import db

ACCOUNT_LOCK = re.compile(r"SELECT .*\bFROM accounts\b.*\bFOR UPDATE", re.DOTALL)
TIMEOUT_S = 30


@contextmanager
def before_account_lock(app, act: Callable[[], object]) -> Iterator[list[object]]:
    """Within the block, have another thread do `act` just before this thread first locks accounts.

    Yields a list, to which the result of `act` is added. Only PostgreSQL locks rows.
    """
    results: list[object] = []
    this_thread = threading.get_ident()

    def act_first(connection, cursor, text, *_):
        if threading.get_ident() == this_thread and not results and ACCOUNT_LOCK.match(text):
            other = threading.Thread(target=lambda: results.append(act()), daemon=True)
            other.start()
            other.join(TIMEOUT_S)
            assert results, "the other request failed, or waits for a lock that this one holds"

    with app.app_context():
        engines = list(db.engines.values())
    for engine in engines:
        event.listen(engine, "before_cursor_execute", act_first)
    try:
        yield results
    finally:
        for engine in engines:
            event.remove(engine, "before_cursor_execute", act_first)
