"""Names and messages that people type: visible, on the right side, in one form."""

import flask_migrate
import pytest
import sqlalchemy as sa
from marshmallow import ValidationError
from marshmallow.fields import Dict, List, Nested

from streamsvc.models import Account
from streamsvc.operations.accounts.accounts import register_account
from streamsvc.schemas.base import Email
from streamsvc.schemas.names import Message, Name
from streamsvc.storage.database import db
from tests.conftest import NOON
from tests.worlds.sessions_steps import code_of, new_person

HOSTILE = [
    "",
    "  ",
    "\u200b",
    "\u3164",
    "\u2800\u2800",
    "a\u202eb",
    "a\u2066b",
    "\u200eann",
    "a\u200bb",
    "a\u00adb",
    "a\ufeffb",
    "a\x07b",
    "a\x85b",
    "a\u2028b",
    "a\nb",
    "a\u200db",
    "a\u200d",
    "a\u0378b",
    "a\ue000b",
    "\ufffe",
    "a\U000e0041b",
]
ORDINARY = [
    "Ann",
    "Zoë & Søren",
    "D'Arcy-O’Neil 3",
    "Наталья",
    "山田 太郎",
    "محمد",
    "می\u200cخواهم",
    "क्\u200dष",
    "👩\u200d👧 Mum",
    "❤️",
    "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
    "\U0001fae8",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_name_that_hides_something_is_rejected(text):
    with pytest.raises(ValidationError):
        Name().deserialize(text)


@pytest.mark.parametrize("text", ORDINARY)
def test_an_ordinary_name_is_kept(text):
    assert Name().deserialize(text) == text


def test_a_name_is_stored_in_one_form_and_a_message_has_lines():
    assert Name().deserialize(" Zoe\u0308 ") == "Zoë"
    assert Message().deserialize("Dear Zoë,\n\tenjoy") == "Dear Zoë,\n\tenjoy"
    with pytest.raises(ValidationError):
        Message().deserialize("a\u202eb\n")


def test_an_address_with_a_control_or_invisible_character_is_rejected():
    for address in ("a\x01b@example.com", "a\x7fb@example.com", "a\u200bb@example.com"):
        with pytest.raises(ValidationError):
            Email().deserialize(address)


PERSONAL = {"name", "device_name", "message", "feedback", "reason", "street", "city"}


def fields_of(schema, path=""):
    for name, field in schema.fields.items():
        field = field.inner if isinstance(field, List) else field
        yield f"{path}{name}", field
        if isinstance(field, Nested):
            yield from fields_of(field.schema, f"{path}{name}.")


def test_every_name_that_a_request_may_contain_is_checked(app):
    """By name of the member, in every request body of the API."""
    unchecked, checked = set(), 0
    for rule in app.url_map.iter_rules():
        arguments = getattr(app.view_functions[rule.endpoint], "_apidoc", {}).get("arguments", {})
        for parameter in arguments.get("parameters", ()):
            if parameter.get("in") not in ("json", "form"):
                continue
            for path, field in fields_of(parameter["schema"]):
                if path.rpartition(".")[2] in PERSONAL and not isinstance(field, Nested | Dict):
                    checked += 1
                    unchecked |= set() if isinstance(field, Name) else {f"{rule.rule} {path}"}
    assert checked > 20 and not unchecked


def test_names_are_checked_where_people_type_them(client):
    ann = new_person(client)
    device = {"device": {"name": "a\u202eb", "kind": "web"}}
    for response in (
        ann.post("/v1/profiles", {"name": "\u200b"}),
        ann.patch("/v1/account", {"name": "a\u202eb"}),
        ann.sign_in(**device),
    ):
        assert code_of(response) == (422, "invalid"), response.json
    for name, status in (("a\u202eb", 400), ("   ", 400), ("", 200)):  # empty: as if it were omitted, RFC 6749, 3.1
        form = {"client_id": "tv", "device_name": name}
        assert client.post("/v1/device-authorizations", data=form).status_code == status


def test_nobody_registers_a_look_alike_of_an_existing_address(client):
    poca = new_person(client, "poca")
    body = {"password": poca.password, "country": "DE"}
    sign_up = [
        client.post("/v1/accounts", json={"email": email, **body})
        for email in ("роса@example.com", "ｐｏｃａ@example.com")
    ]
    assert [code_of(response) for response in sign_up] == [(409, "email_taken")] * 2
    mixed = client.post("/v1/accounts", json={"email": "\u0430nn@example.com", **body})
    assert code_of(mixed) == (422, "invalid") and "email" in mixed.json["errors"]
    assert client.post("/v1/accounts", json={"email": "роса@other.example", **body}).status_code == 201


def test_the_migration_renews_the_keys_of_addresses_beyond_ascii(database, new_app):
    app, keys = new_app(database, "email_keys"), {}
    with app.app_context():
        for email in ("ann@b\u00fccher.example", "\uff50oca@example.com", "bob@example.com"):
            keys[register_account(email, "a long secret 7", "DE", NOON)] = email
        db.session.commit()
        flask_migrate.downgrade(revision="0032")
        for account_id, email in keys.items():
            db.session.execute(sa.update(Account).where(Account.id == account_id).values(email_key=email))
        db.session.commit()
        flask_migrate.upgrade()
        found = set(db.session.scalars(sa.select(Account.email_key)))
        db.session.rollback()
    assert found == {"ann@xn--bcher-kva.example", "poca@example.com", "bob@example.com"}
