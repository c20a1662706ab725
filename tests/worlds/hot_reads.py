"""Every hot read of the test suite is sent to Flask as well, and both responses must be equal."""

from collections import Counter

from streamsvc.http.hot_reads import HotReads, send_response

checked: Counter = Counter()
"""How many hot reads were compared, by rule."""
_answer = HotReads._answer


def compare_hot_reads() -> None:
    """From now on, in this process."""
    HotReads._answer = answer_and_compare


def answer_and_compare(self, environ, read, arguments):
    """Answer as a hot read, and let Flask answer the same request. Raises AssertionError if they differ.

    Not while the database is unavailable: both would wait for it, and tests measure how long one does.
    """
    response = _answer(self, environ, read, arguments)
    if response is not None and response.status_code != 503:
        hot = call(lambda *wsgi: send_response(response, *wsgi), environ)
        flask = call(self.wsgi_app, environ)
        assert hot == flask, f"{environ['PATH_INFO']} as a hot read: {hot}; by Flask: {flask}"
        checked[read.rule.rule] += 1
    return response


def call(wsgi_app, environ) -> tuple[str, list, bytes]:
    """Return (status, sorted headers, body) of a response."""
    started = []
    body = b"".join(wsgi_app({**environ}, lambda status, headers, exc_info=None: started.append((status, headers))))
    status, headers = started[-1]
    return status, sorted(headers), body
