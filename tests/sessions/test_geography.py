"""A local database of addresses: places in sessions and mails, and a notice of travel that nobody can have made."""

import dataclasses
from datetime import timedelta

import pytest
from mmdb_writer import MMDBWriter
from netaddr import IPSet

from streamsvc.gateways.geography import find_place
from streamsvc.rules.geography import Place, distance_km, is_impossible_travel
from tests.worlds.sessions_steps import mails, new_person

PLACES = {
    "81.2.69.0/24": ("GB", "London", 51.5142, -0.0931, 10),
    "89.160.20.0/24": ("SE", "Linköping", 58.4167, 15.6167, 76),
    "2001:218::/32": ("JP", "Tokyo", 35.6895, 139.6917, 50),
}
ODD_RECORDS = {
    "203.0.113.1/32": {
        "country": {"iso_code": "XX"},
        "city": {"names": {"en": "Two\nlines"}},
        "location": {"latitude": 1},
    },
    "203.0.113.2/32": {"location": {"latitude": 91.0, "longitude": 0.0}, "country": "DE", "city": []},
}


@pytest.fixture(scope="module")
def database_path(tmp_path_factory):
    writer = MMDBWriter(ip_version=6, ipv4_compatible=True, float_type="f64")
    for network, (country, city, latitude, longitude, radius) in PLACES.items():
        location = {"latitude": latitude, "longitude": longitude, "accuracy_radius": radius}
        record = {"country": {"iso_code": country}, "city": {"names": {"en": city}}, "location": location}
        writer.insert_network(IPSet([network]), record)
    for network, record in ODD_RECORDS.items():
        writer.insert_network(IPSet([network]), record)
    path = tmp_path_factory.mktemp("geo") / "places.mmdb"
    writer.to_db_file(str(path))
    return str(path)


@pytest.fixture
def client(app, database_path):
    former = app.extensions["settings"]
    app.extensions["settings"] = dataclasses.replace(former, geo_database=database_path)
    yield app.test_client()
    app.extensions["settings"] = former


def sign_in_from(person, address, **more):
    body = {"email": person.email, "password": person.password} | more
    return person.client.post("/v1/sessions", json=body, environ_base={"REMOTE_ADDR": address})


def newest(person):
    return person.get("/v1/sessions").json["items"][0]


def test_addresses_are_found_or_unknown(database_path, tmp_path):
    assert find_place(database_path, "81.2.69.142") == Place("GB", "London", 51.5142, -0.0931, 10.0)
    assert find_place(database_path, "2001:218::1").country == "JP"
    for address in ("198.51.100.1", "203.0.113.1", "203.0.113.2", "not an address", None, ""):
        assert find_place(database_path, address) == Place(), address
    damaged = tmp_path / "damaged.mmdb"
    damaged.write_bytes(b"not a database")
    assert find_place(str(damaged), "81.2.69.142") == Place()


def test_sessions_and_mails_name_the_place(app, client):
    ann = new_person(client)
    assert sign_in_from(ann, "81.2.69.142").status_code == 201
    session = newest(ann)
    assert (session["country"], session["city"], session["impossible_travel"]) == ("GB", "London", False)
    assert "London, GB, 81.2.69.142" in mails(app, ann.email, "new_device")[0]["text"]
    assert sign_in_from(ann, "198.51.100.1").status_code == 201
    assert (newest(ann)["country"], newest(ann)["city"]) == (None, None)


def test_impossible_travel_is_flagged_and_mailed_and_never_blocks(app, client, clock):
    ann, bob = new_person(client), new_person(client, "bob")
    for address, hours, flagged in (
        ("81.2.69.142", 0, False),
        ("2001:218::1", 1, True),  # 9,500 km in an hour
        ("2001:218::2", 1, False),
        ("198.51.100.1", 0, False),  # an unknown place is compared with nothing
        ("81.2.69.142", 12, False),  # half a day after the last known place
    ):
        clock.advance(hours=hours)
        assert sign_in_from(ann, address).status_code == 201
        assert newest(ann)["impossible_travel"] is flagged, address
    sent = mails(app, ann.email, "impossible_travel")
    assert len(sent) == 1 and "Tokyo, JP" in sent[0]["text"]
    assert sign_in_from(bob, "2001:218::1").status_code == 201
    assert newest(bob)["impossible_travel"] is False, "another account's travel does not count"


def test_the_check_can_be_turned_off(app, client, clock):
    app.extensions["settings"] = dataclasses.replace(app.extensions["settings"], impossible_travel_kmh=0)
    ann = new_person(client)
    for address in ("81.2.69.142", "2001:218::1"):
        sign_in_from(ann, address)
    assert newest(ann)["impossible_travel"] is False


def test_distance_and_speed():
    london_tokyo = distance_km(51.5142, -0.0931, 35.6895, 139.6917)
    assert 9_540 < london_tokyo < 9_590
    assert distance_km(0, 179.9, 0, -179.9) < 25, "across the date line"
    assert is_impossible_travel(london_tokyo, 60, timedelta(hours=9), 1000)
    assert not is_impossible_travel(london_tokyo, 60, timedelta(hours=10), 1000)
    assert is_impossible_travel(1_000, 0, timedelta(0), 1000)
    assert not is_impossible_travel(300, 150, timedelta(0), 1000), "the uncertainty explains it"
