"""Imported password hashes: verified as they are, and replaced by argon2id hashes at the first sign-in."""

import base64
import hashlib
import re
from contextlib import ExitStack, suppress
from functools import partial

import bcrypt
import pytest
import sqlalchemy as sa
from argon2 import PasswordHasher, Type

from streamsvc.models import Account
from streamsvc.rules.refusals.requests import Unavailable
from streamsvc.rules.sign_in.foreign_hashes import parse_foreign_hash
from streamsvc.security import password_hashing
from streamsvc.storage.database import db
from tests.worlds.sessions_steps import Person, code_of, everything, mailed_token, operator

PASSWORD = "a lông secret 7"
SALT = b"salt of 16 bytes"


def b64(raw):
    return base64.b64encode(raw).decode()


def ab64(raw):
    return b64(raw).replace("+", ".").rstrip("=")


def scrypt(n=1024, r=8, p=1, size=32):
    return hashlib.scrypt(PASSWORD.encode(), salt=SALT, n=n, r=r, p=p, dklen=size, maxmem=64 * 1024 * 1024)


def pbkdf2(name, rounds=1000):
    return hashlib.pbkdf2_hmac(name, PASSWORD.encode(), SALT, rounds)


SHA = hashlib.sha256(PASSWORD.encode()).hexdigest().encode()
HASHES = {
    "argon2id": PasswordHasher(1, 8, 1).hash(PASSWORD),
    "argon2i": PasswordHasher(1, 8, 1, type=Type.I).hash(PASSWORD),
    "Django argon2": "argon2" + PasswordHasher(1, 8, 1).hash(PASSWORD),
    "bcrypt 2b": bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode(),
    "bcrypt 2a": bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4, b"2a")).decode(),
    "bcrypt 2y": bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode().replace("$2b$", "$2y$"),
    "Django bcrypt": "bcrypt$" + bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode(),
    "Django bcrypt_sha256": "bcrypt_sha256$" + bcrypt.hashpw(SHA, bcrypt.gensalt(4)).decode(),
    "passlib scrypt": f"$scrypt$ln=10,r=8,p=1${ab64(SALT)}${ab64(scrypt())}",
    "Django scrypt": f"scrypt${SALT.decode()}$1024$8$1${b64(scrypt(size=64))}",
    "Werkzeug scrypt": f"scrypt:1024:8:1${SALT.decode()}${scrypt(size=64).hex()}",
    "scrypt in many small parts": f"scrypt:2:1:9000${SALT.decode()}${scrypt(2, 1, 9000).hex()}",
    "passlib pbkdf2": f"$pbkdf2-sha256$1000${ab64(SALT)}${ab64(pbkdf2('sha256'))}",
    "passlib pbkdf2-sha512": f"$pbkdf2-sha512$1000${ab64(SALT)}${ab64(pbkdf2('sha512'))}",
    "Django pbkdf2": f"pbkdf2_sha256$1000${SALT.decode()}${b64(pbkdf2('sha256'))}",
    "Werkzeug pbkdf2": f"pbkdf2:sha256:1000${SALT.decode()}${pbkdf2('sha256').hex()}",
}


def import_account(app, password_hash, email="ann@example.com"):
    body = {"email": email, "country": "DE", "password_hash": password_hash, "email_verified": True}
    return operator(app).post("/v1/admin/accounts", body)


@pytest.mark.parametrize("text", HASHES.values(), ids=HASHES)
def test_a_foreign_hash_verifies_its_password_only(text):
    foreign_hash = parse_foreign_hash(text)
    assert foreign_hash.verify_password(PASSWORD)
    assert not foreign_hash.verify_password(PASSWORD + "x")


@pytest.mark.parametrize(
    "form", ["Django pbkdf2", "bcrypt 2y", "passlib scrypt", "scrypt in many small parts", "argon2i"]
)
def test_the_first_sign_in_replaces_a_foreign_hash(app, client, form):
    imported = import_account(app, HASHES[form])
    assert imported.status_code == 201, imported.json
    ann = Person(client, "ann@example.com", PASSWORD)
    assert code_of(Person(client, ann.email, "wrong").sign_in()) == (401, "invalid_credentials")
    assert [ann.sign_in().status_code for _ in range(2)] == [201, 201]
    with app.app_context():
        assert db.session.scalar(sa.select(Account.password_hash)).startswith("$argon2id$v=19$m=8,t=1,p=1$")


@pytest.mark.parametrize(
    "hostile",
    [
        "$argon2id$v=19$m=1048576,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
        "$argon2id$v=19$m=65536,t=400,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
        "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ",
        "$2b$31$" + "a" * 53,
        "$2b$00$" + "a" * 53,
        "$scrypt$ln=30,r=8,p=1$c2FsdA$aGFzaA",
        "scrypt:1000:8:1$salt$00ff",
        f"$scrypt$ln=17,r=8,p=8${ab64(SALT)}${ab64(scrypt())}",
        f"$scrypt$ln=17,r=1,p=1${ab64(SALT)}${ab64(scrypt())}",
        f"$scrypt$ln=10,r=0,p=1${ab64(SALT)}${ab64(scrypt())}",
        "pbkdf2_sha256$9999999999$salt$aGFzaA==",
        f"$pbkdf2-sha256$1500000${ab64(SALT)}${ab64(SALT * 4)}",
        f"$pbkdf2-sha256$1000${ab64(SALT)}${ab64(SALT * 20)}",
        f"$pbkdf2-sha256$1000${ab64(SALT)}$aGFz",
        "5f4dcc3b5aa765d61d8327deb882cf99",
        "{md5}5f4dcc3b5aa765d61d8327deb882cf9",
        "{sha1}5f4dcc3b5aa765d61d8327deb882cf99",
        "{SSHA}" + b64(hashlib.sha1(b"x").digest()),
        "{SMD5}" + b64(bytes(100)),
        "md5$salt$5f4dcc3b",
        "digest:md5:::$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
        "plain text",
        "",
    ],
)
def test_unknown_and_too_expensive_hashes_are_rejected_at_import(app, hostile):
    response = import_account(app, hostile)
    assert response.status_code == 422
    assert list(response.json["errors"]) == ["password_hash"]


def argon2(memory_kib=8, passes=1, threads=1):
    return f"$argon2id$v=19$m={memory_kib},t={passes},p={threads}$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA"


def passlib_scrypt(ln, r):
    return f"$scrypt$ln={ln},r={r},p=1${ab64(SALT)}${ab64(SALT)}"


def pbkdf2(algorithm, rounds, size=32):
    return f"$pbkdf2-{algorithm}${rounds}${ab64(SALT)}${ab64(bytes(size))}"


@pytest.mark.parametrize(
    ("accepted", "rejected"),
    [
        (argon2(memory_kib=131_072), argon2(memory_kib=131_073)),
        (argon2(memory_kib=131_072, passes=5), argon2(memory_kib=131_072, passes=6)),
        (argon2(memory_kib=64, threads=8), argon2(memory_kib=72, threads=9)),
        ("$2b$04$" + "a" * 53, "$2b$03$" + "a" * 53),
        ("$2b$14$" + "a" * 53, "$2b$15$" + "a" * 53),
        (passlib_scrypt(15, 1), passlib_scrypt(16, 1)),
        (passlib_scrypt(17, 8), passlib_scrypt(17, 9)),
        (passlib_scrypt(1, 8), passlib_scrypt(0, 8)),
        (pbkdf2("sha256", 2_000_000), pbkdf2("sha256", 2_000_001)),
        (pbkdf2("sha512", 1_000_000), pbkdf2("sha512", 1_000_001)),
        (pbkdf2("sha256", 1, size=64), pbkdf2("sha256", 1, size=65)),
        (pbkdf2("sha256", 1, size=16), pbkdf2("sha256", 0, size=16)),
        (pbkdf2("sha256", 1, size=16), pbkdf2("sha256", 1, size=15)),
    ],
)
def test_the_limits_of_the_cost_are_exact(accepted, rejected):
    assert parse_foreign_hash(accepted)
    with pytest.raises(ValueError):
        parse_foreign_hash(rejected)


MD5, SHA1 = (partial(hashlib.new, name) for name in ("md5", "sha1"))
DIGESTS = {
    "{md5}": ("{md5}", MD5(PASSWORD.encode()).digest(), bytes.hex),
    "{SHA1}": ("{SHA1}", SHA1(PASSWORD.encode()).digest(), lambda raw: raw.hex().upper()),
    "LDAP's {SHA}": ("{SHA}", SHA1(PASSWORD.encode()).digest(), b64),
    "LDAP's {SMD5}": ("{SMD5}", MD5(PASSWORD.encode() + SALT).digest() + SALT, b64),
    "LDAP's {SSHA}": ("{SSHA}", SHA1(PASSWORD.encode() + SALT).digest() + SALT, b64),
    "Django md5": ("md5$pepper:$", MD5(b"pepper:" + PASSWORD.encode()).digest(), bytes.hex),
    "Django sha1": ("sha1$$", SHA1(PASSWORD.encode()).digest(), bytes.hex),
}


@pytest.mark.parametrize(("scheme", "digest", "encode"), DIGESTS.values(), ids=DIGESTS)
def test_a_plain_digest_is_hashed_at_import_and_not_stored(app, client, monkeypatch, scheme, digest, encode):
    pepper = {"password_pepper": (("a", "p" * 32),)} if scheme == "{SMD5}" else {}
    monkeypatch.setitem(app.extensions, "settings", app.extensions["settings"].replace(**pepper))
    assert import_account(app, scheme + encode(digest)).status_code == 201
    argon2_pattern = r"(pepper:a:)?\$argon2id\$v=19\$m=8,t=1,p=1\$.+"
    with app.app_context():
        assert re.fullmatch(
            r"digest:(md5|sha1):[^:]*:[^:]*:" + argon2_pattern, db.session.scalar(sa.select(Account.password_hash))
        )
    bare = digest.removesuffix(SALT)
    spellings = (bare.hex(), bare.hex().upper(), b64(bare)[:-4], b64(digest))
    assert not [text for text in spellings if text in everything(app)]
    for wrong in ("wrong", bare.hex()):
        assert code_of(Person(client, "ann@example.com", wrong).sign_in()) == (401, "invalid_credentials")
    assert [Person(client, "ann@example.com", PASSWORD).sign_in().status_code for _ in range(2)] == [201, 201]
    with app.app_context():
        assert re.fullmatch(argon2_pattern, db.session.scalar(sa.select(Account.password_hash)))


def test_importing_a_digest_needs_an_unknown_device_permit(app):
    digest = "{md5}" + MD5(PASSWORD.encode()).hexdigest()
    with app.app_context(), ExitStack() as permits:
        with suppress(Unavailable):
            while True:
                permits.enter_context(password_hashing.hashing_permit())
        full = import_account(app, digest)
        assert (code_of(full), full.headers["Retry-After"]) == ((503, "unavailable"), "1")
        assert import_account(app, HASHES["argon2id"], "bob@example.com").status_code == 201
    assert import_account(app, digest).status_code == 201


def test_an_account_imported_without_a_hash_is_accessible_after_a_reset(app, client):
    assert import_account(app, None).status_code == 201
    ann = Person(client, "ann@example.com", PASSWORD)
    assert code_of(ann.sign_in()) == (401, "invalid_credentials")
    client.post("/v1/password-resets", json={"email": ann.email})
    token = mailed_token(app, ann.email, "password_reset")
    assert client.put("/v1/password-resets", json={"token": token, "password": PASSWORD}).status_code == 204
    assert ann.sign_in().status_code == 201


def test_importing_a_taken_address_is_an_error(app):
    assert import_account(app, HASHES["argon2id"]).status_code == 201
    assert code_of(import_account(app, HASHES["argon2id"], "ANN@example.com")) == (409, "email_taken")


def test_rehashing_does_not_overwrite_a_password_changed_in_the_meantime(app, client, monkeypatch):
    import_account(app, HASHES["Django pbkdf2"])
    hash_password = password_hashing.hash_password

    def change_then_hash(password, **more):
        with db.engine.begin() as connection:
            connection.execute(sa.update(Account).values(password_hash="$argon2id$changed"))
        return hash_password(password, **more)

    monkeypatch.setattr(password_hashing, "hash_password", change_then_hash)
    assert code_of(Person(client, "ann@example.com", PASSWORD).sign_in()) == (401, "invalid_credentials")
    with app.app_context():
        assert db.session.scalar(sa.select(Account.password_hash)) == "$argon2id$changed"
