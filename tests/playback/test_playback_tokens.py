"""Playback tokens: signed, short-lived, for one item, and verified without a database."""

import hashlib
import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from streamsvc.models import Session, Stream
from streamsvc.operations.playback import streams
from streamsvc.operations.playback.stopped_streams import StoppedStreams
from streamsvc.rules.playback.tokens import MediaScope, PlaybackToken
from streamsvc.security import playback_tokens
from streamsvc.storage.compiled_statements import CompiledStatement
from streamsvc.storage.database import db
from tests.conftest import NOON, SECRET
from tests.worlds.playback_steps import CARTOON, FILM, TWO, World, error_of, new_account, new_session, stream_request
from tests.worlds.scenes import set_scene

KEYS = playback_tokens.media_keys((SECRET,))
SCOPE = MediaScope(("cdn.example",), ("/media/ttl_1/",))
GRANT = PlaybackToken("str_1", "acc_1", "pro_1", "ttl_1", "DE", SCOPE, 1080, None, NOON)


def build_world(app, with_ann):
    world = World(app)
    world.put_titles(FILM, CARTOON)
    world.ann = world.household(plan=world.put_plan()) if with_ann else None
    return world


@pytest.fixture
def world(app, request):
    return set_scene(app, build_world, "token" in request.fixturenames)


@pytest.fixture
def token(world):
    return world.ann.play("film").json["grant"]["token"]


@pytest.fixture
def verify(client):
    def send(token=None, uri="/x", **headers):
        sent = {"Authorization": f"Bearer {token}"} if token else {}
        sent |= {"X-Original-URI": uri} if uri else {}
        return client.get(
            "/v1/playback/verify", headers=sent | {name.replace("_", "-"): value for name, value in headers.items()}
        )

    return send


def manifest_of(world, item="film"):
    return f"/media/{world.ids[item]}/master.m3u8"


def test_a_playback_token_is_a_json_web_token():
    header, payload, signature = playback_tokens.encode_token(GRANT, KEYS).split(".")
    expected = hmac.digest(KEYS[0], f"{header}.{payload}".encode(), hashlib.sha256)
    assert urlsafe_b64decode(signature + "=") == expected
    assert json.loads(urlsafe_b64decode(header + "==")) == {
        "alg": "HS256",
        "kid": hashlib.sha256(KEYS[0]).hexdigest()[:8],
        "typ": "JWT",
    }
    assert json.loads(urlsafe_b64decode(payload + "=="))["sub"] == "str_1"


def test_the_first_key_signs_and_every_key_verifies():
    old, new = playback_tokens.media_keys(("o" * 32, "n" * 32))
    by_old = playback_tokens.encode_token(GRANT, [old])
    assert playback_tokens.decode_claims(by_old, [new, old])["sub"] == "str_1"
    assert playback_tokens.decode_claims(by_old, [new]) is None
    assert playback_tokens.decode_claims(playback_tokens.encode_token(GRANT, [new, old]), [new])["sub"] == "str_1"


def test_media_keys_sign_only_playback_tokens():
    assert SECRET.encode() not in KEYS[0]
    assert len(KEYS[0]) == 32


def unsigned(token):
    payload = token.split(".")[1]
    header = urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').rstrip(b"=").decode()
    return f"{header}.{payload}."


def signed_with_another_header(token):
    payload = token.split(".")[1]
    header = urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').rstrip(b"=").decode()
    signature = hmac.digest(KEYS[0], f"{header}.{payload}".encode(), hashlib.sha256)
    return f"{header}.{payload}.{urlsafe_b64encode(signature).rstrip(b'=').decode()}"


@pytest.mark.parametrize(
    "forge",
    [
        lambda token: token[:-2] + ("AA" if token[-2:] != "AA" else "BB"),
        lambda token: token.replace(".", "", 1),
        lambda token: "." + token,
        lambda token: token + ".x",
        unsigned,
        signed_with_another_header,
        lambda token: token.rpartition(".")[0] + ".",
        lambda token: "..",
        lambda token: "é",
        lambda token: "x" * 3000,
    ],
)
def test_a_forged_token_is_invalid(forge):
    assert playback_tokens.decode_claims(forge(playback_tokens.encode_token(GRANT, KEYS)), KEYS) is None


def test_a_new_token_allows_its_own_media(world, verify, token):
    folder = f"/media/{world.ids['film']}"
    assert verify(token, f"{folder}/master.m3u8").status_code == 204
    assert verify(token, f"{folder}/1080p/segment-00001.m4s?x=1").status_code == 204


def test_a_token_allows_no_other_media(world, verify, token):
    refused = verify(token, f"/media/{world.ids['cartoon']}/master.m3u8")
    assert error_of(refused) == (403, "grant_forbids")
    assert "X-Original-Host" not in refused.json["detail"], "it has one host"
    assert error_of(verify(token, f"/media/{world.ids['film']}/../x")) == (403, "grant_forbids")


@pytest.mark.parametrize("way", ["bearer", "cookie", "query", "own query", "caddy"])
def test_a_token_can_be_sent_in_several_ways(world, client, token, way):
    uri = f"/media/{world.ids['film']}/master.m3u8"
    headers = {
        "bearer": {"Authorization": f"Bearer {token}", "X-Original-URI": uri},
        "cookie": {"X-Original-URI": uri},
        "query": {"X-Original-URI": f"{uri}?grant={token}"},
        "own query": {"X-Original-URI": uri},
        "caddy": {"X-Forwarded-Uri": f"{uri}?grant={token}"},
    }[way]
    if way == "cookie":
        client.set_cookie("playback_grant", token)
    path = "/v1/playback/verify" + (f"?grant={token}" if way == "own query" else "")
    assert client.get(path, headers=headers).status_code == 204


def test_without_a_token_media_are_refused(verify):
    assert error_of(verify()) == (401, "grant_invalid")
    assert error_of(verify("sst_a-session-token")) == (401, "grant_invalid")


def test_a_token_lives_as_long_as_its_stream_without_a_heartbeat(world, verify, token, clock):
    clock.advance(seconds=89)
    assert verify(token, manifest_of(world)).status_code == 204
    clock.advance(seconds=1)
    assert error_of(verify(token, manifest_of(world))) == (401, "grant_invalid")


def test_the_requested_uri_is_required(verify, token):
    assert error_of(verify(token, None)) == (400, "original_uri_missing")


@pytest.mark.parametrize("prefix", ["/", "http://cdn.example", "http:/", "/%2f", "//["])
def test_a_path_that_servers_read_in_different_ways_is_forbidden(world, verify, token, prefix):
    assert error_of(verify(token, prefix + manifest_of(world))) == (403, "grant_forbids")


@pytest.mark.parametrize("header", ["X-Original-Host", "X-Forwarded-Host"])
def test_a_token_opens_only_the_host_of_the_manifest(world, verify, token, header):
    assert verify(token, manifest_of(world), **{header: "127.0.0.1:8000"}).status_code == 204
    assert error_of(verify(token, manifest_of(world), **{header: "other.example"})) == (403, "grant_forbids")


def test_many_segments_cost_one_read_of_the_database(world, database, verify, token, clock):
    statements = []
    with world.app.app_context():
        for engine in db.engines.values():
            event.listen(engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
        execute = CompiledStatement._execute
    verify(token, manifest_of(world))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CompiledStatement, "_execute", lambda *args: statements.append(args[1]) or execute(*args))
        for _ in range(20):
            assert verify(token, manifest_of(world)).status_code == 204
        assert statements == []
        clock.advance(seconds=1)
        for _ in range(20):
            verify(token, manifest_of(world))
    assert len(statements) == 1


@pytest.mark.parametrize("end", ["stop", "heartbeat", "sign out", "operator", "taken over"])
def test_the_token_of_a_stopped_stream_is_refused_within_a_second(world, verify, clock, end):
    ann = world.household(plan=world.put_plan())
    started = ann.play("film").json
    token, stream_id = started["grant"]["token"], started["stream_id"]
    kept = ann.on_another_device().play("film").json["grant"]["token"]
    assert verify(token, manifest_of(world)).status_code == 204
    {
        "stop": lambda: ann.delete(f"/v1/playback/{stream_id}"),
        "heartbeat": lambda: ann.send_heartbeat(stream_id, state="stopped"),
        "sign out": lambda: ann.delete("/v1/sessions/current"),
        "operator": lambda: world.operator.delete(f"/v1/admin/streams/{stream_id}"),
        "taken over": lambda: ann.play("film"),
    }[end]()
    clock.advance(seconds=1)
    assert error_of(verify(token, manifest_of(world))) == (401, "grant_invalid")
    assert verify(kept, manifest_of(world)).status_code == 204


@pytest.mark.parametrize("ends", [Stream, Session], ids=["the stream", "its session"])
@pytest.mark.parametrize(("seconds", "is_known"), [(-10, False), (-9, True)])
def test_an_end_that_is_committed_ten_seconds_late_is_known_until_the_token_expires(app, ends, seconds, is_known):
    ended_at, stopped = NOON + timedelta(seconds=seconds), StoppedStreams()
    with app.app_context():
        account_id, (profile_id,) = new_account(NOON)
        request = stream_request(account_id, profile_id, *new_session(account_id, NOON))
        stream_id, _ = streams.claim_stream(request, TWO, None, NOON)
        assert not stopped.contains(stream_id, NOON)
        db.session.execute(sa.update(ends).values(ended_at=ended_at))
        db.session.commit()
        assert stopped.contains(stream_id, NOON + timedelta(seconds=1)) is is_known
        for seconds_later in (99, 100):
            known = stopped.contains(stream_id, ended_at + timedelta(seconds=seconds_later))
            assert known is (is_known and seconds_later == 99)
            known = StoppedStreams().contains(stream_id, ended_at + timedelta(seconds=seconds_later))
            assert known is (seconds_later == 99), "in another process"
        db.session.remove()


def test_starting_and_stopping_on_many_devices_leaves_no_usable_token(world, verify, clock):
    ann = world.household(plan=world.put_plan(max_streams=1, max_devices=5))
    tokens = []
    for viewer in [ann, *(ann.on_another_device() for _ in range(4))]:
        started = viewer.play("film").json
        tokens.append(started["grant"]["token"])
        viewer.delete(f"/v1/playback/{started['stream_id']}")
    clock.advance(seconds=1)
    assert [verify(token, manifest_of(world)).status_code for token in tokens] == [401] * 5


def test_a_token_can_be_bound_to_the_network_of_the_viewer(new_app, database):
    app = new_app(database, "bound", grant_network="24/56", trusted_proxies=1)
    world = World(app)
    world.put_titles(FILM)
    ann = world.household(plan=world.put_plan())
    started = ann.post("/v1/playback", {"item_id": world.ids["film"]}, X_Forwarded_For="203.0.113.7").json

    def verify_from(address):
        headers = {"Authorization": f"Bearer {started['grant']['token']}", "X-Original-URI": manifest_of(world)}
        return app.test_client().get("/v1/playback/verify", headers=headers | {"X-Forwarded-For": address})

    assert verify_from("203.0.113.99").status_code == 204
    assert error_of(verify_from("203.0.114.7")) == (403, "grant_forbids")


def test_while_the_database_is_unavailable_the_last_list_counts(world, verify, token, clock, monkeypatch):
    assert verify(token, manifest_of(world)).status_code == 204

    def fail(*args):
        raise OperationalError("SELECT", {}, Exception("down"))

    monkeypatch.setattr(CompiledStatement, "_execute", fail)
    clock.advance(seconds=2)
    assert verify(token, manifest_of(world)).status_code == 204
    world.app.extensions.pop("stopped_streams")
    assert verify(token, manifest_of(world)).status_code >= 500, "a process that never read the list refuses"
