"""Viewers behind a VPN, by a local database of addresses."""

import dataclasses

import pytest
from mmdb_writer import MMDBWriter
from netaddr import IPSet

from streamsvc.gateways.geography import is_hidden_network
from tests.worlds.playback_steps import FILM, World, error_of

ADDRESSES = {
    "198.51.100.1/32": {"is_anonymous": True, "is_anonymous_vpn": True},
    "198.51.100.2/32": {"is_hosting_provider": True},
    "198.51.100.3/32": {"traits": {"is_tor_exit_node": True}},
    "198.51.100.4/32": {"is_anonymous": False, "is_hosting_provider": "no", "traits": "odd"},
    "2001:db8::/32": {"is_public_proxy": True},
}


@pytest.fixture(scope="module")
def database_path(tmp_path_factory):
    writer = MMDBWriter(ip_version=6, ipv4_compatible=True)
    for network, record in ADDRESSES.items():
        writer.insert_network(IPSet([network]), record)
    path = tmp_path_factory.mktemp("vpn") / "anonymous.mmdb"
    writer.to_db_file(str(path))
    return str(path)


@pytest.fixture
def world(app, database_path, monkeypatch):
    settings = dataclasses.replace(app.extensions["settings"], vpn="refuse", vpn_database=database_path)
    monkeypatch.setitem(app.extensions, "settings", settings)
    world = World(app)
    world.put_titles(FILM)
    return world


def test_hidden_networks_are_found_and_others_are_not(database_path, tmp_path):
    for hidden in ("198.51.100.1", "198.51.100.2", "198.51.100.3", "2001:db8::1"):
        assert is_hidden_network(database_path, hidden) is True, hidden
    for known in ("198.51.100.4", "192.0.2.1", "2001:db9::1"):
        assert is_hidden_network(database_path, known) is False, known
    damaged = tmp_path / "damaged.mmdb"
    damaged.write_bytes(b"not a database")
    assert [is_hidden_network(database_path, None), is_hidden_network(str(damaged), "192.0.2.1")] == [None, None]


def test_a_viewer_behind_a_vpn_browses_but_does_not_play(world, tmp_path):
    ann = world.household(plan=world.put_plan())
    film, path = world.ids["film"], f"/v1/catalog/titles/{world.ids['film']}"
    stream = ann.play("film").json["stream_id"]
    ann.client.environ_base["REMOTE_ADDR"] = "198.51.100.2"
    assert [title["id"] for title in ann.get("/v1/catalog/titles").json["items"]] == [film]
    assert ann.get(path).json["availability"]["reason"] == "vpn_not_allowed"
    ended = ann.send_heartbeat(stream)
    assert (ended.status_code, ended.json["reason"]) == (410, "vpn_not_allowed")
    assert error_of(ann.play("film")) == (403, "vpn_not_allowed")
    body = {"account_id": ann.account_id, "item_id": film}
    explained = [
        world.operator.post("/v1/admin/explain", body | {"address": address}).json["code"]
        for address in ("198.51.100.2", "192.0.2.1", "not an address", None)
    ]
    assert explained == ["vpn_not_allowed", None, "vpn_not_allowed", None]
    ann.client.environ_base["REMOTE_ADDR"] = "192.0.2.1"
    assert ann.play("film").status_code == 201
    damaged = tmp_path / "damaged.mmdb"
    damaged.write_bytes(b"not a database")
    settings = dataclasses.replace(world.app.extensions["settings"], vpn_database=str(damaged))
    world.app.extensions["settings"] = settings
    assert error_of(ann.play("film")) == (403, "vpn_not_allowed")
