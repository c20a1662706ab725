"""Every hot read of the test suite is sent to Flask as well, and both responses must be equal."""

from collections import Counter

from streamsvc.http.hot_reads import HotReads

checked: Counter = Counter()
"""How many hot reads were compared, by rule."""
_answer = HotReads.answer


def compare_hot_reads() -> None:
    """From now on, in this process."""
    HotReads.answer = answer_and_compare


def answer_and_compare(self, environ):
    """Answer as a hot read, and let Flask answer the same request. Raises AssertionError if they differ.

    Not while the database is unavailable: both would wait for it, and tests measure how long one does.
    """
    sent = {**environ}
    answer = _answer(self, environ)
    if answer is not None and not answer.status.startswith("503"):
        hot = answer.status, sorted(answer.headers), b"".join(answer.body)
        flask = call(self.wsgi_app, sent | {"HTTP_X_REQUEST_ID": dict(answer.headers)["X-Request-Id"]})
        assert hot == flask, f"{environ['PATH_INFO']} as a hot read: {hot}; by Flask: {flask}"
        checked[self.find(environ["PATH_INFO"])[0].rule.rule] += 1
    return answer


def call(wsgi_app, environ) -> tuple[str, list, bytes]:
    """Return (status, sorted headers, body) of a response."""
    started = []
    body = b"".join(wsgi_app(environ, lambda status, headers, exc_info=None: started.append((status, headers))))
    status, headers = started[-1]
    return status, sorted(headers), body
