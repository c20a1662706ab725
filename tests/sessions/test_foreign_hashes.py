"""Accounts from other systems: their hashes are verified as they are, and become ours at the first sign-in."""

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

WORD = "a lông secret 7"
SALT = b"salt of 16 bytes"


def b64(raw):
    return base64.b64encode(raw).decode()


def ab64(raw):
    return b64(raw).replace("+", ".").rstrip("=")


def scrypt(n=1024, r=8, p=1, size=32):
    return hashlib.scrypt(WORD.encode(), salt=SALT, n=n, r=r, p=p, dklen=size)


def pbkdf2(name, rounds=1000):
    return hashlib.pbkdf2_hmac(name, WORD.encode(), SALT, rounds)


SHA = hashlib.sha256(WORD.encode()).hexdigest().encode()
MADE = {
    "argon2id": PasswordHasher(1, 8, 1).hash(WORD),
    "argon2i": PasswordHasher(1, 8, 1, type=Type.I).hash(WORD),
    "Django argon2": "argon2" + PasswordHasher(1, 8, 1).hash(WORD),
    "bcrypt 2b": bcrypt.hashpw(WORD.encode(), bcrypt.gensalt(4)).decode(),
    "bcrypt 2a": bcrypt.hashpw(WORD.encode(), bcrypt.gensalt(4, b"2a")).decode(),
    "bcrypt 2y": bcrypt.hashpw(WORD.encode(), bcrypt.gensalt(4)).decode().replace("$2b$", "$2y$"),
    "Django bcrypt": "bcrypt$" + bcrypt.hashpw(WORD.encode(), bcrypt.gensalt(4)).decode(),
    "Django bcrypt_sha256": "bcrypt_sha256$" + bcrypt.hashpw(SHA, bcrypt.gensalt(4)).decode(),
    "passlib scrypt": f"$scrypt$ln=10,r=8,p=1${ab64(SALT)}${ab64(scrypt())}",
    "Django scrypt": f"scrypt${SALT.decode()}$1024$8$1${b64(scrypt(size=64))}",
    "Werkzeug scrypt": f"scrypt:1024:8:1${SALT.decode()}${scrypt(size=64).hex()}",
    "passlib pbkdf2": f"$pbkdf2-sha256$1000${ab64(SALT)}${ab64(pbkdf2('sha256'))}",
    "passlib pbkdf2-sha512": f"$pbkdf2-sha512$1000${ab64(SALT)}${ab64(pbkdf2('sha512'))}",
    "Django pbkdf2": f"pbkdf2_sha256$1000${SALT.decode()}${b64(pbkdf2('sha256'))}",
    "Werkzeug pbkdf2": f"pbkdf2:sha256:1000${SALT.decode()}${pbkdf2('sha256').hex()}",
}


def take_over(app, password_hash, email="ann@example.com"):
    body = {"email": email, "country": "DE", "password_hash": password_hash, "email_verified": True}
    return operator(app).post("/v1/admin/accounts", body)


@pytest.mark.parametrize("made", MADE.values(), ids=MADE)
def test_a_hash_of_another_system_opens_for_its_password_alone(made):
    kept = parse_foreign_hash(made)
    assert kept.verify_password(WORD)
    assert not kept.verify_password(WORD + "x")


@pytest.mark.parametrize("form", ["Django pbkdf2", "bcrypt 2y", "passlib scrypt", "argon2i"])
def test_the_first_sign_in_makes_a_hash_of_ours_of_it(app, client, form):
    made = take_over(app, MADE[form])
    assert made.status_code == 201, made.json
    ann = Person(client, "ann@example.com", WORD)
    assert code_of(Person(client, ann.email, "wrong").sign_in()) == (401, "invalid_credentials")
    assert [ann.sign_in().status_code for _ in range(2)] == [201, 201]
    with app.app_context():
        assert db.session.scalar(sa.select(Account.password_hash)).startswith("$argon2id$v=19$m=8,t=1,p=1$")


@pytest.mark.parametrize(
    "hostile",
    [
        "$argon2id$v=19$m=1048576,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
        "$argon2id$v=19$m=65536,t=400,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
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
def test_what_is_unknown_or_costs_too_much_is_refused_when_it_comes_in(app, hostile):
    answer = take_over(app, hostile)
    assert answer.status_code == 422
    assert list(answer.json["errors"]) == ["password_hash"]


MD5, SHA1 = (partial(hashlib.new, name) for name in ("md5", "sha1"))
DIGESTS = {
    "{md5}": ("{md5}", MD5(WORD.encode()).digest(), bytes.hex),
    "{SHA1}": ("{SHA1}", SHA1(WORD.encode()).digest(), lambda raw: raw.hex().upper()),
    "LDAP's {SHA}": ("{SHA}", SHA1(WORD.encode()).digest(), b64),
    "LDAP's {SMD5}": ("{SMD5}", MD5(WORD.encode() + SALT).digest() + SALT, b64),
    "LDAP's {SSHA}": ("{SSHA}", SHA1(WORD.encode() + SALT).digest() + SALT, b64),
    "Django md5": ("md5$pepper:$", MD5(b"pepper:" + WORD.encode()).digest(), bytes.hex),
    "Django sha1": ("sha1$$", SHA1(WORD.encode()).digest(), bytes.hex),
}


@pytest.mark.parametrize(("mark", "digest", "written"), DIGESTS.values(), ids=DIGESTS)
def test_a_mere_digest_is_hashed_when_it_comes_in_and_kept_nowhere(app, client, monkeypatch, mark, digest, written):
    pepper = {"password_pepper": (("a", "p" * 32),)} if mark == "{SMD5}" else {}
    monkeypatch.setitem(app.extensions, "settings", app.extensions["settings"].replace(**pepper))
    assert take_over(app, mark + written(digest)).status_code == 201
    ours = r"(pepper:a:)?\$argon2id\$v=19\$m=8,t=1,p=1\$.+"
    with app.app_context():
        assert re.fullmatch(
            r"digest:(md5|sha1):[^:]*:[^:]*:" + ours, db.session.scalar(sa.select(Account.password_hash))
        )
    bare = digest.removesuffix(SALT)
    assert not [one for one in (bare.hex(), bare.hex().upper(), b64(bare)[:-4], b64(digest)) if one in everything(app)]
    for wrong in ("wrong", bare.hex()):
        assert code_of(Person(client, "ann@example.com", wrong).sign_in()) == (401, "invalid_credentials")
    assert [Person(client, "ann@example.com", WORD).sign_in().status_code for _ in range(2)] == [201, 201]
    with app.app_context():
        assert re.fullmatch(ours, db.session.scalar(sa.select(Account.password_hash)))


def test_a_digest_that_comes_in_takes_a_strangers_place_or_waits_outside(app):
    digest = "{md5}" + MD5(WORD.encode()).hexdigest()
    with app.app_context(), ExitStack() as held:
        with suppress(Unavailable):
            while True:
                held.enter_context(password_hashing.hashing_permit())
        full = take_over(app, digest)
        assert (code_of(full), full.headers["Retry-After"]) == ((503, "unavailable"), "1")
        assert take_over(app, MADE["argon2id"], "bob@example.com").status_code == 201
    assert take_over(app, digest).status_code == 201


def test_an_account_without_a_hash_is_opened_by_a_reset(app, client):
    assert take_over(app, None).status_code == 201
    ann = Person(client, "ann@example.com", WORD)
    assert code_of(ann.sign_in()) == (401, "invalid_credentials")
    client.post("/v1/password-resets", json={"email": ann.email})
    token = mailed_token(app, ann.email, "password_reset")
    assert client.put("/v1/password-resets", json={"token": token, "password": WORD}).status_code == 204
    assert ann.sign_in().status_code == 201


def test_an_address_that_is_taken_is_told_to_the_operator(app):
    assert take_over(app, MADE["argon2id"]).status_code == 201
    assert code_of(take_over(app, MADE["argon2id"], "ANN@example.com")) == (409, "email_taken")


def test_a_password_changed_meanwhile_is_not_set_back(app, client, monkeypatch):
    take_over(app, MADE["Django pbkdf2"])
    hashed = password_hashing.hash_password

    def changed_meanwhile(password, **more):
        with db.engine.begin() as connection:
            connection.execute(sa.update(Account).values(password_hash="$argon2id$changed"))
        return hashed(password, **more)

    monkeypatch.setattr(password_hashing, "hash_password", changed_meanwhile)
    assert code_of(Person(client, "ann@example.com", WORD).sign_in()) == (401, "invalid_credentials")
    with app.app_context():
        assert db.session.scalar(sa.select(Account.password_hash)) == "$argon2id$changed"
