"""Playback tokens: signed, short-lived, for one item, and verified without a database."""

import hashlib
import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode

import pytest
from sqlalchemy import event

from streamsvc.rules.playback.tokens import PlaybackToken
from streamsvc.security import playback_tokens
from streamsvc.storage.database import db
from tests.conftest import NOON, SECRET, Clock
from tests.worlds.playback_steps import CARTOON, FILM, World, error_of

KEYS = playback_tokens.media_keys((SECRET,))
GRANT = PlaybackToken("str_1", "acc_1", "pro_1", "ttl_1", "DE", ("/media/ttl_1/",), 1080, NOON)


@pytest.fixture
def world(app):
    world = World(app)
    world.put_titles(FILM, CARTOON)
    return world


@pytest.fixture
def token(world):
    ann = world.household(plan=world.put_plan())
    return ann.play("film").json["grant"]["token"]


@pytest.fixture
def verify(client):
    def send(token=None, uri=None, **headers):
        sent = {"Authorization": f"Bearer {token}"} if token else {}
        sent |= {"X-Original-URI": uri} if uri else {}
        return client.get("/v1/playback/verify", headers=sent | headers)

    return send


def test_a_playback_token_is_a_json_web_token():
    header, payload, signature = playback_tokens.encode_token(GRANT, KEYS).split(".")
    expected = hmac.digest(KEYS[0], f"{header}.{payload}".encode(), hashlib.sha256)
    assert urlsafe_b64decode(signature + "=") == expected
    assert json.loads(urlsafe_b64decode(header + "==")) == {
        "alg": "HS256",
        "kid": playback_tokens.key_id(KEYS[0]),
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
    assert verify(token).status_code == 204
    assert verify(token, f"{folder}/master.m3u8").status_code == 204
    assert verify(token, f"{folder}/1080p/segment-00001.m4s?x=1").status_code == 204


def test_a_token_allows_no_other_media(world, verify, token):
    assert error_of(verify(token, f"/media/{world.ids['cartoon']}/master.m3u8")) == (403, "grant_forbids")
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


def test_a_token_lives_as_long_as_its_stream_without_a_heartbeat(verify, token, clock):
    clock.advance(seconds=89)
    assert verify(token).status_code == 204
    clock.advance(seconds=1)
    assert error_of(verify(token)) == (401, "grant_invalid")


def test_verification_reads_no_database(database, new_app):
    app = new_app(database, "verify", clock=Clock(), sandbox=False)
    statements = []
    with app.app_context():
        for engine in db.engines.values():
            event.listen(engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
        token = playback_tokens.encode_token(GRANT, KEYS)
    client = app.test_client()
    app.extensions["clock"].advance(seconds=-60)
    response = client.get("/v1/playback/verify", headers={"Authorization": f"Bearer {token}"})
    assert (response.status_code, statements) == (204, [])
