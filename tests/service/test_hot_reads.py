"""Hot reads: which requests skip Flask's dispatch, and that nothing is lost by it.

Beside this, every hot read of the whole suite is sent to Flask too, and both responses are compared: see
worlds/hot_reads.py.
"""

import pytest
import sqlalchemy as sa
from flask import has_app_context, has_request_context
from flask.testing import FlaskClient

from streamsvc.blueprints.sessions import sessions
from streamsvc.http import hot_reads
from streamsvc.models import Session
from streamsvc.security import authentication, viewers
from streamsvc.storage.database import AUTOCOMMIT_BIND, db, execute_write
from tests.worlds import hot_reads as comparison
from tests.worlds.sessions_steps import new_person, operator

CURRENT = "/v1/sessions/current"
HOT = {
    CURRENT,
    "/v1/catalog/episodes/",
    "/v1/catalog/filters",
    "/v1/catalog/genres",
    "/v1/catalog/home",
    "/v1/catalog/people/",
    "/v1/catalog/search",
    "/v1/catalog/suggestions",
    "/v1/catalog/titles",
    "/v1/catalog/titles/",
    "/v1/plans",
    "/v1/plans/",
    "/v1/playback/verify",
}


@pytest.fixture
def count_hot(app):
    """A function that returns how many requests were hot reads since its last call."""
    comparison.checked.clear()

    def count():
        number = comparison.checked.total()
        comparison.checked.clear()
        return number

    return count


def test_the_hot_reads_are_those_of_every_page_of_a_front_end(app):
    assert set(hot_reads.HotReads(app, app.wsgi_app).table) == HOT


def test_usual_requests_of_viewers_are_hot_reads(client, count_hot):
    ann = new_person(client)
    for path in (CURRENT, "/v1/catalog/titles?limit=2", "/v1/catalog/search?q=x", "/v1/catalog/home"):
        assert ann.get(path).status_code == 200
        assert count_hot() == 1, path
    assert client.get("/v1/plans?country=DE").status_code == 200
    assert ann.get("/v1/catalog/titles/ttl_unknown").status_code == 404
    assert ann.get("/v1/catalog/titles?colour=red").status_code == 422
    assert ann.get("/v1/catalog/titles/../titles").status_code in (308, 404)
    assert count_hot() == 3


@pytest.mark.parametrize("header", ["Cookie", "DPoP", "X-End-User-Address", "lower-case scheme", "query", "HEAD"])
def test_whatever_is_unusual_goes_to_flask(client, count_hot, header):
    ann = new_person(client)
    query, method, headers = "", "GET", {"Authorization": f"Bearer {ann.token}"}
    if header == "Cookie":
        headers = {"Cookie": f"{authentication.COOKIE}={ann.token}"}
    elif header == "lower-case scheme":
        headers = {"Authorization": f"bearer {ann.token}"}
    elif header == "query":
        query = "?x=1"
    elif header == "HEAD":
        method = "HEAD"
    else:
        headers[header] = "x"
    FlaskClient.open(client, CURRENT + query, method=method, headers=headers)  # also errors that are not described
    assert count_hot() == 0


def test_sessions_that_need_a_second_look_go_to_flask(app, client, clock, count_hot):
    ann, desk = new_person(client), operator(app, "admin")
    assert desk.get("/v1/catalog/titles").status_code == 200, "an operator's key"
    account = ann.get(CURRENT).json["account"]["id"]
    count_hot()
    support = desk.post(f"/v1/admin/accounts/{account}/impersonations", {"reason": "to look"}).json["token"]
    assert client.get(CURRENT, headers={"Authorization": f"Bearer {support}"}).json["impersonation"]
    guest = client.post("/v1/guests", json={"country": "DE"}).json["token"]
    assert client.get(CURRENT, headers={"Authorization": f"Bearer {guest}"}).json["guest"]
    clock.advance(minutes=10)
    with app.app_context():
        before = db.session.scalar(sa.select(sa.func.max(Session.last_seen_at)))
    assert ann.get(CURRENT).status_code == 200, "its last use is noted"
    with app.app_context():
        assert db.session.scalar(sa.select(sa.func.max(Session.last_seen_at))) > before
    assert count_hot() == 0
    assert ann.get(CURRENT).status_code == 200
    assert count_hot() == 1, "now it has been noted"


def test_an_ended_session_is_refused_by_the_next_hot_read(app, client, count_hot):
    ann = new_person(client)
    assert ann.get(CURRENT).status_code == 200
    with app.app_context():
        execute_write(sa.update(Session).values(ended_at=app.extensions["clock"]()))
    assert ann.get(CURRENT).status_code == 401
    assert count_hot() == 1


def test_an_error_that_nobody_expected_is_logged_once_and_is_a_problem_document(app, client, monkeypatch, caplog):
    ann = new_person(client)
    monkeypatch.setitem(app.config, "PROPAGATE_EXCEPTIONS", False)
    monkeypatch.setattr(sessions, "current_session_view", lambda viewer: 1 / 0)
    response = ann.get(CURRENT)
    assert (response.status_code, response.json["code"]) == (500, "internal_error")
    assert caplog.text.count("ZeroDivisionError: ") == 1


def test_a_hot_read_leaves_its_context_even_if_the_connection_is_lost_at_its_end(app, client):
    """Otherwise the requests that its thread serves from then on would have its clock and its viewer."""

    def lose_connection(connection):
        raise sa.exc.OperationalError("ROLLBACK", None, OSError("the connection is lost"))

    with app.app_context():
        engine = db.engines[AUTOCOMMIT_BIND]
    sa.event.listen(engine, "rollback", lose_connection)
    try:
        with pytest.raises(sa.exc.OperationalError):
            client.get("/v1/plans/unknown")
    finally:
        sa.event.remove(engine, "rollback", lose_connection)
    assert not has_app_context()
    assert not has_request_context()
    assert client.get("/v1/plans/unknown").status_code == 404


def test_hot_reads_are_counted_by_route(new_app, database):
    app = new_app(database, "hot_metrics", metrics=True)
    client = app.test_client()
    assert client.get("/v1/plans").status_code == 200
    counted = 'streamsvc_request_seconds_count{method="GET",route="/v1/plans",status="200"} 2.0'
    assert counted in client.get("/metrics").text, "as a hot read and, for the comparison, by Flask"


def test_the_comparison_finds_a_hot_read_that_remembers_viewers(client, monkeypatch):
    """A planted fault: a session that is kept, and stays as it was."""
    kept = {}

    def find_and_keep(token, *view):
        return kept.setdefault(token, viewers.find_ordinary_viewer(token, *view))

    monkeypatch.setattr(hot_reads, "find_ordinary_viewer", find_and_keep)
    ann = new_person(client)
    assert ann.get(CURRENT).status_code == 200
    ann.patch("/v1/account", {"name": "Somebody else"})
    with pytest.raises(AssertionError, match="as a hot read"):
        ann.get(CURRENT)
