"""Signed media URLs and cookies, against the vendors' published vectors or a verifier written from their documents."""

import base64
import hashlib
import hmac
import json
import os
import re
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey

from streamsvc.rules.playback.signers import parse_signers
from streamsvc.rules.playback.signers.base import MediaAccess, split_signed_path
from streamsvc.rules.playback.signers.path_tokens import hash_secure_link

VECTORS = json.loads((Path(__file__).parent.parent / "data" / "media_signers.json").read_text())
PEM = VECTORS["cloudfront"]["private_key"]
FOLDER, FLAT = ("/films/a/",), ("/films/a.m3u8", "/films/a_*")
MANIFEST = "https://cdn.example/films/a/master.m3u8"
NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)
BASE64_KEY = "iqFPeN2u+Z0Lm5IrsKaOFKRqEU5Gw8ePtaEkHZWuD24="


def signer(name, **fields):
    return parse_signers([{"host": "cdn.example", "signer": name, **fields}])[0]


def access(paths=FOLDER, expires=None, network=None):
    expires_at = datetime.fromtimestamp(expires, UTC) if expires else NOW + timedelta(seconds=90)
    return MediaAccess(paths, network, NOW, expires_at)


EXPIRES = access().expires


def test_akamai_tokens_are_those_of_the_vendors_library():
    data = VECTORS["akamai"]
    for vector in data["vectors"]:
        paths = tuple(path.removesuffix("*") if path.endswith("/*") else path for path in vector["acl"])
        now = datetime.fromtimestamp(data["start_time"] + 60, UTC)
        granted = MediaAccess(paths, None, now, datetime.fromtimestamp(data["end_time"], UTC))
        akamai = signer("akamai", key=data["key"], salt=vector["salt"])
        assert akamai.sign_url(f"{MANIFEST}?v=1", granted) == f"{MANIFEST}?v=1&hdnts={vector['token']}"
        cookies = signer("akamai", key=data["key"], salt=vector["salt"], use="cookies")
        url = "https://cdn.example" + (paths[0] + "master.m3u8" if paths[0].endswith("/") else paths[0])
        assert [(c.name, c.value) for c in cookies.sign_cookies(url, granted)] == [("hdnts", vector["token"])]
        assert cookies.sign_url(url, granted) == url


def test_akamai_opens_no_path_that_its_tokens_cannot_express():
    with pytest.raises(ValueError, match="cannot have"):
        signer("akamai", key="ab" * 16).sign_url(MANIFEST, access(("/films/a!/",)))


def test_a_bunny_token_is_that_of_the_vendors_vectors():
    data = VECTORS["bunny"]
    bunny = signer("bunny", key=data["key"])
    file, folder = data["vectors"]
    assert bunny.sign_url(data["host"] + file["path"], access((file["path"],), data["expires"])) == file["signed_url"]
    message = f"{folder['path_allowed']}{data['expires']}token_path={folder['path_allowed']}"
    assert f"token={bunny.sign_message(message)}&" in folder["signed_url"]


def bunny_admits(url, key):
    """Whether bunny.net admits a request: "Advanced token authentication", path-based format."""
    prefix, _, path = urlsplit(url).path.removeprefix("/").partition("/")
    fields = {name: values[0] for name, values in parse_qs(prefix).items()}
    message = f"{fields['token_path']}{fields['expires']}token_path={fields['token_path']}"
    digest = hmac.digest(key.encode(), message.encode(), hashlib.sha256)
    token = "HS256-" + base64.urlsafe_b64encode(digest).decode().rstrip("=")
    return token == fields["bcdn_token"] and f"/{path}".startswith(fields["token_path"])


def test_a_bunny_token_of_a_folder_opens_what_is_in_it():
    signed = signer("bunny", key="SecurityKey").sign_url(MANIFEST, access())
    segment = signed.replace("master.m3u8", "v3/1.ts")
    assert bunny_admits(signed, "SecurityKey") and bunny_admits(segment, "SecurityKey")
    assert not bunny_admits(segment, "OtherKey123") and not bunny_admits(
        segment.replace("/films/a/v3", "/films/b"), "SecurityKey"
    )
    assert not bunny_admits(signed.replace(f"expires={EXPIRES}", f"expires={EXPIRES + 1}"), "SecurityKey")


def fastly_status(url, key, now):
    """The status by the VCL in fastly/token-functions, with the expression for folders of docs/playback.md."""
    parts = urlsplit(url)
    if in_path := re.fullmatch(r"(/.+/)~(\d{10,11})_([0-9a-f]{40})/(.+)", parts.path):
        path, expires, signature, _ = in_path.groups()
    elif in_query := re.search(r"token=(\d{10,11})_([^&]+)", parts.query):
        path, (expires, signature) = parts.path, in_query.groups()
    else:
        return 403
    if hmac.new(base64.b64decode(key), f"{path}{expires}".encode(), hashlib.sha1).hexdigest() != signature:
        return 403
    return 410 if now > int(expires) else 200


def test_fastly_admits_signed_urls_until_they_expire():
    fastly = signer("fastly", key=BASE64_KEY)
    folder, file = (
        fastly.sign_url(MANIFEST, access()),
        fastly.sign_url("https://cdn.example/films/a.m3u8", access(FLAT)),
    )
    for url in (folder, folder.replace("master.m3u8", "v3/1.ts"), file):
        assert [fastly_status(url, BASE64_KEY, at) for at in (EXPIRES, EXPIRES + 1)] == [200, 410]
    assert fastly_status(folder.replace("/films/a/", "/films/b/"), BASE64_KEY, EXPIRES) == 403
    assert fastly_status(file.replace("a.m3u8", "b.m3u8"), BASE64_KEY, EXPIRES) == 403


def test_cloudfronts_canned_policy_has_the_published_signature():
    data = VECTORS["cloudfront"]
    urls = signer("cloudfront", key_id=data["key_id"], private_key=PEM, use="urls")
    signed = urls.sign_url(data["url"], access(("/horizon.jpg",), data["expires"]))
    query = f"&Expires={data['expires']}&Signature={data['signature']}&Key-Pair-Id={data['key_id']}"
    assert signed == data["url"] + query


def cloudfront_policy(fields):
    """The policy that CloudFront enforces for {Policy, Signature, Key-Pair-Id}. Raises InvalidSignature."""
    policy, signature = (
        base64.b64decode(fields[name].translate(str.maketrans("-_~", "+=/"))) for name in ("Policy", "Signature")
    )
    load_pem_private_key(PEM.encode(), None).public_key().verify(signature, policy, PKCS1v15(), SHA1())
    return json.loads(policy)


@pytest.mark.parametrize("use", ["cookies", "urls"])
def test_cloudfronts_custom_policy_opens_the_folder(use):
    cloudfront = signer("cloudfront", key_id="K1", private_key=PEM, use=use)
    granted = access(network="203.0.113.0/24")
    cookies = cloudfront.sign_cookies(MANIFEST, granted)
    if use == "urls":
        fields = {name: v[0] for name, v in parse_qs(urlsplit(cloudfront.sign_url(MANIFEST, granted)).query).items()}
        assert cookies == ()
    else:
        fields = {cookie.name.removeprefix("CloudFront-"): cookie.value for cookie in cookies}
        assert cloudfront.sign_url(MANIFEST, granted) == MANIFEST and {c.path for c in cookies} == {"/films/a/"}
    condition = {"DateLessThan": {"AWS:EpochTime": EXPIRES}, "IpAddress": {"AWS:SourceIp": "203.0.113.0/24"}}
    assert fields["Key-Pair-Id"] == "K1"
    assert cloudfront_policy(fields) == {
        "Statement": [{"Resource": "https://cdn.example/films/a/*", "Condition": condition}]
    }
    with pytest.raises(InvalidSignature):
        cloudfront_policy(fields | {"Policy": base64.b64encode(b'{"Statement":[]}').decode().replace("=", "_")})


def test_a_mux_token_names_the_playback_id():
    key = RSAKey.generate_key(2048)
    mux = parse_signers([{"signer": "mux", "key_id": "K1", "private_key": key.as_pem(private=True).decode()}])[0]
    signed = mux.sign_url("https://stream.mux.com/abc123.m3u8", access(("/abc123.m3u8",)))
    url, _, token = signed.partition("?token=")
    decoded = jwt.decode(token, key, algorithms=["RS256"])
    assert url == "https://stream.mux.com/abc123.m3u8"
    assert decoded.header == {"alg": "RS256", "typ": "JWT", "kid": "K1"}
    assert decoded.claims == {"sub": "abc123", "aud": "v", "exp": EXPIRES, "kid": "K1"}
    with pytest.raises(JoseError):
        jwt.decode(token, RSAKey.generate_key(2048), algorithms=["RS256"])


def test_secure_links_are_hashed_as_nginx_documents_it():
    data = VECTORS["secure_link"]
    path, secret = data["message"].removeprefix("2147483647").split(" ")
    assert hash_secure_link(path, 2147483647, secret) == data["md5"]


def test_an_hmac_token_is_that_of_openssl():
    signed = signer("hmac", secret="a-secret-of-the-edge").sign_url(MANIFEST, access())
    folder, token, expires, _ = re.fullmatch(r"https://cdn.example(/.+/)~([\w-]+),(\d+)/(.+)", signed).groups()
    command = ["openssl", "dgst", "-sha256", "-hmac", "a-secret-of-the-edge", "-binary"]
    digest = subprocess.run(command, input=f"{expires}\n{folder}".encode(), capture_output=True, check=True).stdout
    assert base64.urlsafe_b64decode(token + "=") == digest and (folder, int(expires)) == ("/films/a/", EXPIRES)


NGINX_CONF = """
{user}daemon off; error_log stderr; pid {folder}/pid; events {{}}
http {{ access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
 uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
 server {{ listen 127.0.0.1:{port}; root {folder}/media; location / {{ return 404; }}
{location}
 location ^~ /media-files/ {{ internal; alias {folder}/media/; }} }} }}
"""


@pytest.mark.skipif(shutil.which("nginx") is None, reason="needs nginx")
def test_nginx_admits_secure_links_until_they_expire(tmp_path):
    """With the configuration of docs/playback.md."""
    docs = (Path(__file__).parents[2] / "docs" / "playback.md").read_text()
    location = re.search(r"location ~ \^\(\?<folder>.*?\n}\n", docs, re.DOTALL)[0].replace("SECRET", "s" * 16)
    (tmp_path / "media/films/a/v3").mkdir(parents=True)
    for name in ("master.m3u8", "v3/1.ts"):
        (tmp_path / "media/films/a" / name).write_text(name)
    user = "user root; " if os.geteuid() == 0 else ""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    (tmp_path / "conf").write_text(NGINX_CONF.format(user=user, folder=tmp_path, port=port, location=location))
    link = signer("secure_link", secret="s" * 16)
    current = link.sign_url(MANIFEST, access(expires=4_000_000_000))
    expired = link.sign_url(MANIFEST, access(expires=1_600_000_000))
    server = subprocess.Popen([shutil.which("nginx"), "-p", tmp_path, "-c", tmp_path / "conf"])

    def status(url):
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                return urllib.request.urlopen(f"http://127.0.0.1:{port}{urlsplit(url).path}", timeout=5).status
            except urllib.error.HTTPError as error:
                return error.code
            except OSError:
                assert server.poll() is None, "nginx did not start"
                time.sleep(0.02)
        raise AssertionError("nginx did not listen")

    try:
        assert [status(current), status(current.replace("master.m3u8", "v3/1.ts"))] == [200, 200]
        assert [status(expired), status(current.replace("/films/a/", "/films/b/")), status(MANIFEST)] == [410, 403, 404]
    finally:
        server.terminate()
        server.wait(10)


def test_a_file_without_a_folder_of_its_own_is_signed_alone():
    assert split_signed_path("https://cdn.example/films/a.m3u8", access(FLAT)) == ("/films/a.m3u8", "")
    named_as_its_folder = access(("/films/a/", "/films/a"))
    assert split_signed_path("https://cdn.example/films/a", named_as_its_folder) == ("/films/a", "")
    signed = signer("secure_link", secret="s" * 16).sign_url("https://cdn.example/films/a.m3u8", access(FLAT))
    assert urlsplit(signed).path == "/films/a.m3u8" and f"expires={EXPIRES}" in signed
    with pytest.raises(ValueError, match="may fetch"):
        split_signed_path("https://cdn.example/films/b.m3u8", access(FLAT))


def test_an_encoded_folder_is_signed_as_it_is_requested():
    url = "https://cdn.example/films/l%C3%A9on/master.m3u8"
    assert split_signed_path(url, access((unquote("/films/l%C3%A9on/"),))).folder == "/films/l%C3%A9on/"


@pytest.mark.parametrize(
    "entry",
    [
        {"signer": "cloudfront", "host": "cdn.example", "key_id": "K1", "private_key": "not a key"},
        {"signer": "akamai", "host": "cdn.example", "key": "abc"},
        {"signer": "akamai", "host": "https://cdn.example", "key": "ab" * 16},
        {"signer": "fastly", "host": "cdn.example", "key": "?"},
        {"signer": "bunny", "host": "cdn.example", "key": "SecurityKey", "unknown": 1},
        {"signer": "bunny", "host": "cdn.example", "key": "SecurityKey", "ttl_s": 1},
        {"signer": "nobody", "host": "cdn.example"},
        {"signer": "secure_link", "host": "cdn.example", "secret": "short"},
    ],
)
def test_an_invalid_signer_is_refused(entry):
    with pytest.raises(ValueError, match=r"must|Object|Invalid|Expected"):
        parse_signers([entry])


def test_a_host_has_one_signer():
    entry = {"signer": "bunny", "host": "cdn.example", "key": "SecurityKey"}
    with pytest.raises(ValueError, match="one signer for each host"):
        parse_signers([entry, entry])
