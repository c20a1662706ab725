"""Guides in XMLTV and playlists in M3U: what lands, what is reported, and what hostile files can do."""

import gzip
import json
from datetime import UTC, datetime, timedelta

import pytest

from streamsvc.operations.catalog.formats import xmltv
from streamsvc.rules.catalog.programmes import Airing, ProgrammeRecord, build_schedule
from streamsvc.rules.catalog.xmltv import parse_time
from tests.worlds.channel_steps import LiveWorld, rating
from tests.worlds.playback_steps import error_of

NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)


@pytest.fixture
def world(app):
    return LiveWorld(app)


# The elements and attributes are those of the XMLTV project's xmltv.dtd, and the forms of its comments.
RICH = """<?xml version="1.0" encoding="ISO-8859-1"?>
<!DOCTYPE tv SYSTEM "xmltv.dtd">
<tv source-info-name="Example" generator-info-name="XMLTV/0.6">
  <channel id="I10436.example"><display-name>13 KERA</display-name><display-name>13</display-name>
    <icon src="https://cdn.example/kera.png"/></channel>
  <programme start="20260115120000 +0100" stop="20260115123000 +0100" channel="I10436.example">
    <title lang="de">Die Nachrichten</title><title lang="en">The News</title>
    <sub-title lang="de">M\xe4rz</sub-title><desc lang="en">All
       that   happened.</desc>
    <category lang="en">News magazine</category><category>News magazine</category>
    <episode-num system="xmltv_ns">2 . 9/12 . 0/1</episode-num><previously-shown start="20251201"/>
    <rating system="FSK"><value>12</value></rating><icon src="https://cdn.example/news.jpg"/>
    <url>https://www.imdb.com/title/tt0111161/</url>
  </programme>
  <programme start="202601151130" channel="I10436.example">
    <title>Without an end</title><episode-num>S4 E7</episode-num><rating system="MPAA">R</rating></programme>
  <programme start="20260115130000 BST" stop="20260115143000 BST" channel="I10436.example">
    <title>Overlapping</title><rating system="Unheard of"><value>17</value></rating></programme>
  <programme start="20260115133000 +0000" stop="20260115140000 +0000" channel="I10436.example">
    <title>Next</title><rating system="advisory"><value>language</value></rating></programme>
</tv>
""".encode("latin-1")


def test_a_guide_brings_channels_and_programmes(world):
    shawshank = {"external_id": "imdb:tt0111161", "kind": "movie", "title": "The Shawshank Redemption"}
    world.put_titles(shawshank)
    dry, _ = world.import_file(RICH, "xmltv", dry_run="true")
    assert (dry["added"], dry["rejected"]) == (5, 0)
    assert world.operator.get("/v1/catalog/channels").json["items"] == []
    done, rejected = world.import_file(gzip.compress(RICH), "xmltv")
    assert (done["status"], done["added"], rejected) == ("done", 5, [])
    [channel] = world.operator.get("/v1/catalog/channels").json["items"]
    assert (channel["name"], channel["number"]) == ("13 KERA", "13")
    assert channel["artwork"][0] | {"width": 0, "height": 0, "language": 0} == {
        "role": "logo", "url": "https://cdn.example/kera.png", "width": 0, "height": 0, "language": 0}  # fmt: skip
    world.ids["kera"] = channel["id"]
    shown = world.programmes(channel="kera")
    times = {title: (item["starts_at"][11:16], item["ends_at"][11:16]) for title, item in shown.items()}
    assert times == {
        "Die Nachrichten": ("11:00", "11:30"),
        "Without an end": ("11:30", "12:00"),
        "Overlapping": ("12:00", "13:30"),
        "Next": ("13:30", "14:00"),
    }
    news = shown["Die Nachrichten"]
    assert (news["season"], news["episode"], news["is_repeat"], news["genres"]) == (3, 10, True, ["news-magazine"])
    assert news["age_rating"] == {"system": "DE", "label": "12", "min_age": 12}
    assert (news["title_id"], news["subtitle"]) == (world.ids["imdb:tt0111161"], "März")
    assert (shown["Without an end"]["season"], shown["Without an end"]["episode"]) == (4, 7)
    assert shown["Without an end"]["age_rating"]["label"] == "R"
    english = world.operator.get(
        f"/v1/catalog/channels/{channel['id']}/programmes?from=2026-01-15T11:00:00Z&locale=en-GB"
    )
    first = english.json["items"][0]
    assert (first["title"], first["synopsis"]) == ("The News", "All that happened.")
    again, _ = world.import_file(RICH.decode("latin-1").replace("ISO-8859-1", "UTF-16").encode("utf-16"), "xmltv")
    assert (again["added"], again["changed"], again["unchanged"]) == (0, 0, 5)


def test_a_new_guide_replaces_its_range_and_keeps_ids(world):
    world.put_channel()
    world.put_channel("hd", name="News HD", number="2", guide_id="news")
    world.put_guide(("Before", -60, 0), ("A", 0, 30), ("B", 30, 60), ("After", 120, 180))
    before = world.programmes()
    assert world.programmes(channel="hd").keys() == before.keys()
    assert not {item["id"] for item in world.programmes(channel="hd").values()} & {
        item["id"] for item in before.values()
    }
    done = world.put_guide(("Long", -10, 20), ("B2", 30, 90), compressed=True)
    assert (done["added"], done["changed"], done["removed"]) == (2, 2, 2)  # of two channels
    after = world.programmes()
    assert list(after) == ["Before", "Long", "B2", "After"]
    assert after["B2"]["id"] == before["B"]["id"]
    assert after["After"] == before["After"]
    assert after["Before"]["ends_at"] == after["Long"]["starts_at"]
    world.put_guide(("A", 0, 30))
    assert world.programmes()["A"]["id"] == before["A"]["id"]


def test_each_error_of_a_guide_is_reported_with_its_line(world):
    world.put_channel()
    one = 'channel="news"><title>T</title></programme>'
    body = "\n".join(
        [
            "<tv>",
            f'<programme start="2026" {one}',
            f'<programme start="20260115120000 XYZ" {one}',
            f'<programme start="20260115120000" stop="20260115110000" {one}',
            f"<programme {one}",
            '<programme start="20260115120000" channel="news"><desc>x</desc></programme>',
            '<programme start="20260115120000"><title>T</title></programme>',
            '<programme start="20260115120000" stop="20260115130000" channel="other"><title>T</title></programme>',
            f'<programme start="20260115120000" stop="20260115130000" {one}',
            f'<programme start="20260115140000" {one}',
            "<channel/>",
            f'<programme start="20260115150000" <broken {one}',
        ]
    )
    done, rejected = world.import_file(body, "xmltv")
    assert [(item["line"], item["field"], item["code"]) for item in rejected] == [
        (2, "start", "invalid"),
        (3, "start", "invalid"),
        (4, "stop", "out_of_range"),
        (5, "start", "missing"),
        (6, "title", "missing"),
        (7, "channel", "missing"),
        (8, "channel", "unknown_channel"),
        (10, "stop", "missing"),
        (11, "external_id", "missing"),
        (12, "", "malformed"),
    ]
    assert (done["status"], done["added"], done["rejected"]) == ("done", 1, 10)
    assert list(world.programmes()) == ["T"]


BOMB = '<!DOCTYPE tv [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;">]><tv><channel id="x">&b;</channel></tv>'
LEAK = '<!DOCTYPE tv [<!ENTITY f SYSTEM "file:///etc/passwd">]><tv><channel id="x">&f;</channel></tv>'


@pytest.mark.one_database
@pytest.mark.parametrize(
    ("body", "words"),
    [
        (BOMB, "entities"),
        (LEAK, "entities"),
        ("<tv>" + "<a>" * 100_000, "nested"),
        ("<tv><channel id='" + "x" * 3_000_000, "at most"),
        ("<tv><programme><title>" + "x" * 3_000_000, "too large"),
        ("<tv><programme>" + "<a/>" * 100_000, "too large"),
        ("<html><body>Not found</body></html>", "root"),
        ("#EXTM3U", "well-formed"),
        ('<?xml version="1.0" encoding="utf-7"?><tv></tv>', "well-formed"),
        ("<tv><channel id='\ud800'/></tv>".encode("utf-8", "surrogatepass").decode("latin-1"), None),
        ("", "well-formed"),
    ],
)
def test_a_hostile_guide_is_refused(world, body, words, tmp_path):
    path = tmp_path / "guide"
    path.write_bytes(body.encode())
    with path.open("rb") as file:
        entries = list(xmltv.read_xmltv(file))
    reasons = [error.reason for entry in entries for error in entry.errors]
    assert len(reasons) == (words is not None)
    assert words is None or words in reasons[0]


def test_times_are_read_as_the_dtd_writes_them():
    assert parse_time("20260101200000 +0100") == datetime(2026, 1, 1, 19, tzinfo=UTC)
    assert parse_time("202601012000 -0330") == datetime(2026, 1, 1, 23, 30, tzinfo=UTC)
    assert parse_time("200007281733 BST") == datetime(2000, 7, 28, 16, 33, tzinfo=UTC)
    assert parse_time("20260101200000") == datetime(2026, 1, 1, 20, tzinfo=UTC)
    for text in ("20261301000000", "20260101200000 +9900", "yesterday", "19790101000000", "20260101200000 +01"):
        with pytest.raises(ValueError, match=r"Must|The"):
            parse_time(text)


def test_a_schedule_never_has_two_programmes_at_once():
    def at(start, end, title):
        ends_at = None if end is None else NOON + timedelta(minutes=end)
        return Airing(NOON + timedelta(minutes=start), ends_at, ProgrammeRecord(title))

    mixed = [at(30, 90, "c"), at(0, None, "a"), at(10, 500, "b"), at(30, 60, "d"), at(60, 6000, "e")]
    schedule = build_schedule(mixed)
    assert [(item.record.title, (item.ends_at - item.starts_at).seconds // 60) for item in schedule[:3]] == [
        ("a", 10),
        ("b", 20),
        ("d", 30),
    ]
    assert schedule[-1].ends_at - schedule[-1].starts_at == timedelta(days=1), "no longer than a day"
    assert build_schedule([at(0, None, "a")]) == []


# ruff: noqa: E501
# The conventions are those of Kodi's pvr.iptvsimple (README, "M3U format elements").
PLAYLIST = """\ufeff#EXTM3U url-tvg="https://example.com/guide.xml" catchup-days="2"
#EXTINF:-1 tvg-id="one.de" tvg-name="One" tvg-chno="7" tvg-logo="https://cdn.example/1.png" group-title="News;HD",One, the first
#EXTVLCOPT:http-user-agent=x
https://cdn.example/one/index.m3u8
#EXTINF:0 tvg-id="one.de" catchup="default" catchup-source="https://a.example/{utc}-{duration}.m3u8",One HD
https://cdn.example/onehd/index.mpd

#EXTINF:-1 catchup="append" catchup-days="3" catchup-source="?utc={utc}&lutc={lutc}" tvg-country="DE" tvg-language="de",Two
#EXTGRP:Films
https://cdn.example/two/index.m3u8|User-Agent=x
#EXTINF:-1 tvg-id="fl" catchup="flussonic",Flussonic
https://f.example/fl/index.m3u8
#EXTINF:-1 tvg-id="xc" catchup="xc",Xtream
https://x.example/live/user/pass/12.ts
#EXTINF:-1 tvg-id="sh" catchup="shift" timeshift="1",Shift
https://x.example/sh/index.m3u8
#EXTINF:5400,A film
https://cdn.example/film.mp4
#EXTINF:-1,Multicast
udp://@239.0.0.1:1234
https://cdn.example/without-a-name.m3u8
#EXTINF:-1,Two
https://cdn.example/two/again.m3u8
#EXTINF:-1 tvg-id="bad" catchup="append" catchup-source="?x=${(b)yyyy}",Bad
https://cdn.example/bad/index.m3u8
"""


def test_a_playlist_brings_channels_and_leaves_what_the_operator_set(world):
    world.put_channel("one.de", name="Old", plans=["sport"], windows=[{"countries": ["DE"]}])
    old = world.ids["one.de"]
    done, rejected = world.import_file(PLAYLIST, "m3u")
    assert [(item["line"], item["field"], item["code"], item["external_id"]) for item in rejected] == [
        (20, "media", "not_taken", "multicast"),
        (21, "name", "missing", None),
        (23, "external_id", "duplicate", "two"),
        (25, "catchup_media.hls", "invalid", "bad"),
    ]
    assert (done["added"], done["changed"], done["rejected"]) == (6, 1, 4), "with a film"

    def record(name):
        return world.operator.get(f"/v1/admin/channels/{name}").json

    one = record("one.de")
    assert (one["id"], one["name"], one["number"], one["group"]) == (old, "One, the first", "7", "News")
    assert (one["plans"], one["age_rating"], one["media"]) == (
        ["sport"], "DE:6", {"hls": "https://cdn.example/one/index.m3u8"})  # fmt: skip
    hd, two = record("one-hd"), record("two")
    assert (hd["guide_id"], hd["catchup_hours"], hd["media"]) == (
        "one.de", 48, {"dash": "https://cdn.example/onehd/index.mpd"})  # fmt: skip
    assert (two["group"], two["catchup_hours"], two["countries"], two["languages"]) == ("Films", 72, ["DE"], ["de"])
    assert two["catchup_media"] == {"hls": "https://cdn.example/two/index.m3u8?utc={utc}&lutc={lutc}"}
    assert record("fl")["catchup_media"] == {"hls": "https://f.example/fl/index-{utc}-{duration}.m3u8"}
    assert record("xc")["catchup_media"] == {
        "mpegts": "https://x.example/timeshift/user/pass/{duration:60}/{Y}-{m}-{d}:{H}-{M}/12.ts"
    }
    assert record("sh")["catchup_media"] == {"hls": "https://x.example/sh/index.m3u8?utc={utc}&lutc={lutc}"}
    again, _ = world.import_file(PLAYLIST, "m3u")
    assert (again["added"], again["changed"], again["unchanged"]) == (0, 0, 7)


def test_channels_in_a_catalogue_file_are_whole_records(world):
    lines = [
        {"kind": "channel", "external_id": "a", "name": "A", "number": "3.1", "genres": ["News"]},
        {"kind": "movie", "external_id": "m", "title": "M", "synopsis": 'has "kind": "channel" in it'},
        {"kind": "channel", "external_id": "b", "name": "B", "number": "x", "surprise": 1},
        {"kind": "channel", "name": "C"},
        {"kind": "channel", "external_id": "d", "name": "D", "catchup_media": {"hls": "https://x.example/d.m3u8"}},
        {"kind": "channel", "external_id": "e", "name": "E", "age_rating": "DE:7", "time_zone": "Mars/Base"},
    ]
    done, rejected = world.import_file("\n".join(map(json.dumps, lines)), "ndjson")
    assert done["added"] == 2
    assert [(item["line"], item["field"], item["code"]) for item in rejected] == [
        (3, "number", "invalid"),
        (4, "external_id", "missing"),
        (5, "catchup_media.hls", "invalid"),
        (5, "catchup_hours", "missing"),
        (6, "time_zone", "invalid"),
        (6, "age_rating", "unknown_rating"),
    ]
    exported = world.operator.get("/v1/admin/catalog-exports/ndjson").data
    again, _ = world.import_file(exported, "ndjson")
    assert (again["added"], again["changed"], again["unchanged"]) == (0, 0, 2)
    refused = world.operator.post("/v1/admin/imports?format=xmltv&remove_missing=true", {"a": 1})
    assert error_of(refused) == (422, "invalid")


def test_old_programmes_leave_the_guide_after_the_catch_up(world):
    from streamsvc import clock
    from streamsvc.operations.catalog.channels import guide

    world.put_channel(catchup_hours=72)
    world.put_channel("plain", name="Plain")
    for channel in ("news", "plain"):
        world.put_guide(("Old", -60, 0), ("New", 0, 60), channel=channel)
    world.clock.advance(hours=24)
    with world.app.app_context():
        guide.purge_old_programmes({}, clock.now())
    assert (list(world.programmes()), list(world.programmes(channel="plain"))) == (["Old", "New"], ["New"])
    world.clock.advance(hours=48)
    with world.app.app_context():
        guide.purge_old_programmes({}, clock.now())
    assert list(world.programmes()) == ["New"]


def test_an_unknown_rating_counts_as_above_every_limit(world):
    world.put_channel()
    viewer = world.household(world.put_plan())
    assert viewer.patch(f"/v1/profiles/{viewer.profile_id}", {"max_age": 16}).status_code == 200
    world.put_guide(
        ("Known", -60, -30, rating("16")), ("Unknown", -30, 30, rating("R16", "Elsewhere")), ("Plain", 30, 60)
    )
    assert list(world.programmes(viewer)) == ["Known", "Plain"]
    assert error_of(viewer.play("news")) == (403, "programme_restricted")


@pytest.mark.one_database
def test_an_interrupted_import_goes_on_where_it_stopped(tmp_path):
    path = tmp_path / "guide.xml"
    path.write_bytes(RICH.replace(b"\n", b" ") + b" <broken")

    def entries(after):
        with path.open("rb") as file:
            return list(xmltv.read_xmltv(file, after))

    everything = entries(0)
    assert [entry.overall_line for entry in everything] == [1, 6, 7], "a channel, an error, and a guide"
    for after in range(8):
        assert entries(after) == [entry for entry in everything if entry.overall_line > after]
