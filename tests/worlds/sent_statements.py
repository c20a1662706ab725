"""Records the SQL statements that reach the driver, those of `CompiledStatement` included."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import event

from streamsvc.storage.compiled_statements import CompiledStatement
from streamsvc.storage.database import db

NOT_COUNTED = re.compile(r"(BEGIN|COMMIT|ROLLBACK|SET |PRAGMA )|UPDATE \w+ SET last_(seen|used)_at=")
"""Transactions, settings of the connection, and the note of when a session or a key was last used.

The last is taken once in a while, not at each request.
"""


@contextmanager
def sent_statements(app) -> Iterator[list[str]]:
    """Yield a list that gets the text of each statement that this thread sends in the block, but for NOT_COUNTED.

    One that is sent with many rows of parameters is one statement.
    """
    texts: list[str] = []
    run, thread = CompiledStatement._run, threading.get_ident()

    def record(text):
        if threading.get_ident() == thread and not NOT_COUNTED.match(text):
            texts.append(text)

    def run_and_record(self, connection, text, arguments):
        record(text)
        return run(self, connection, text, arguments)

    def record_execution(connection, cursor, text, *rest):
        record(text)

    with app.app_context():
        engines = list(db.engines.values())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CompiledStatement, "_run", run_and_record)
        for engine in engines:
            event.listen(engine, "before_cursor_execute", record_execution)
        try:
            yield texts
        finally:
            for engine in engines:  # the app is shared with other tests
                event.remove(engine, "before_cursor_execute", record_execution)
