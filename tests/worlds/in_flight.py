"""Something that happens while a request is in flight."""

import threading
from contextlib import contextmanager


@contextmanager
def between_authentication_and_view(app):
    """Yield (pending, results): the function in `pending` runs in another thread during the next request, once.

    The request was authenticated by then, and its view has not begun.
    """
    functions = app.before_request_funcs.setdefault(None, [])
    pending, results = [], []

    def run_pending():
        if pending:
            function = pending.pop()
            thread = threading.Thread(target=lambda: results.append(function()))
            thread.start()
            thread.join()

    functions.append(run_pending)
    try:
        yield pending, results
    finally:
        functions.remove(run_pending)
