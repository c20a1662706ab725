"""The Media RSS feed of the catalogue, as another program reads it."""

from contextlib import contextmanager
from datetime import timedelta
from email.utils import parsedate_to_datetime
from xml.etree import ElementTree

import pytest

from tests.worlds.catalog_world import Catalog

MEDIA, TERMS = "{http://search.yahoo.com/mrss/}", "{http://purl.org/dc/terms/}"
FEED = "/v1/admin/catalog-exports/mrss"


@pytest.fixture
def catalog(app):
    return Catalog(app)


def read_items(catalog):
    response = catalog.get(FEED)
    assert (response.status_code, response.mimetype) == (200, "application/rss+xml")
    root = ElementTree.fromstring(response.data)  # our own
    assert (root.tag, root.get("version"), len(root)) == ("rss", "2.0", 1)
    return root.findall("channel/item")


def read_titles(catalog):
    return [item.findtext("title") for item in read_items(catalog)]


@contextmanager
def settings_of(catalog, **changes):
    extensions = catalog.app.extensions
    former = extensions["settings"]
    extensions["settings"] = former.replace(**changes)
    yield
    extensions["settings"] = former


def test_an_item_has_the_fields_of_media_rss(catalog, clock):
    day = timedelta(days=1)
    title = catalog.put(
        "Léon",
        synopsis="A cleaner & a girl.",
        runtime_s=6600,
        genres=["crime"],
        tags=["Hitman"],
        languages=["fr"],
        age_rating="US:R",
        age_ratings=["DE:16", "BR:14"],
        credits=[{"name": "Jean Reno", "role": "actor"}],
        artwork=[
            {"role": "backdrop", "url": "https://img.example/b.jpg"},
            {"role": "poster", "url": "https://img.example/p.jpg?a=1&b=2", "width": 600, "height": 900},
        ],
        media={"hls": "https://cdn.example/secret.m3u8"},
        windows=[
            {"countries": ["DE"], "starts_at": (clock.at - day).isoformat(), "ends_at": (clock.at + day).isoformat()},
            {"countries": ["AT"], "ends_at": (clock.at + 3 * day).isoformat()},
            {"countries": ["US"], "starts_at": (clock.at + day).isoformat()},
        ],
    )
    [item] = read_items(catalog)
    public_url = catalog.app.extensions["settings"].public_url
    assert item.findtext("link") == f"{public_url}/titles/{title}"
    assert (item.findtext("guid"), item.find("guid").get("isPermaLink")) == (title, "false")
    assert parsedate_to_datetime(item.findtext("pubDate")) == clock.at.replace(microsecond=0)
    assert item.findtext("description") == item.findtext(f"{MEDIA}description") == "A cleaner & a girl."
    content = item.find(f"{MEDIA}content")
    assert content.attrib == {"medium": "video", "duration": "6600", "lang": "fr"}
    assert content.find(f"{MEDIA}player").attrib == {"url": f"{public_url}/titles/{title}"}
    assert (item.findtext(f"{MEDIA}title"), item.findtext(f"{MEDIA}keywords")) == ("Léon", "crime, hitman")
    assert [picture.attrib for picture in item.findall(f"{MEDIA}thumbnail")] == [
        {"url": "https://img.example/p.jpg?a=1&b=2", "width": "600", "height": "900"},
        {"url": "https://img.example/b.jpg"},
    ]
    ratings = [(rating.get("scheme"), rating.text) for rating in item.findall(f"{MEDIA}rating")]
    assert ratings == [("urn:mpaa", "r"), ("urn:fsk", "16")]
    credit = item.find(f"{MEDIA}credit")
    assert (credit.text, credit.attrib) == ("Jean Reno", {"role": "actor", "scheme": "urn:ebu"})
    restriction = item.find(f"{MEDIA}restriction")
    assert (restriction.text, restriction.attrib) == ("at de", {"relationship": "allow", "type": "country"})
    assert item.findtext(f"{TERMS}valid") == f"end={(clock.at + 3 * day).isoformat()[:19]}Z; scheme=W3C-DTF"
    assert b"secret" not in catalog.get(FEED).data


HOSTILE = (
    "</title></item><script>alert(1)</script>",
    "<![CDATA[ & ]]>",
    "\"quoted\" 'twice' &amp; &#0; %s",
    "<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]>&b;",
    "片\u202e𝕏 \ufeff\u2028!",
)


def test_hostile_texts_stay_texts(catalog):
    for number, text in enumerate(HOSTILE):
        catalog.put(text, external_id=f"x:{number}", synopsis=f"{text}\x0b\x1f\ufffe", tags=["a"], credits=[
            {"name": text, "role": "actor"}
        ])  # fmt: skip
    items = read_items(catalog)
    expected = [catalog.get(f"/v1/admin/titles/x:{number}").json["title"] for number in range(len(HOSTILE))]
    assert [item.findtext("title") for item in items] == expected
    assert [item.findtext(f"{MEDIA}credit") for item in items] == expected
    assert all(item.findtext("description").startswith(text) for item, text in zip(items, expected, strict=True))


def test_the_feed_has_what_visitors_may_see(catalog, clock):
    later = (clock.at + timedelta(days=1)).isoformat()
    catalog.put("Everywhere", age_rating="DE:6")
    catalog.put("In one country", windows=[{"countries": ["DE"]}], plans=["premium"])
    catalog.put("To come", windows=[{"starts_at": later}])
    catalog.put("Over", windows=[{"ends_at": clock.at.isoformat()}])
    catalog.put("Nowhere", windows=[])
    catalog.put("In no plan", plans=[])
    catalog.put("For adults", age_rating="DE:18")
    catalog.put("For adults in one country", age_rating="DE:16", age_ratings=["GB:18"])
    catalog.put("Porn", adult=True, age_rating="DE:0")
    catalog.put("Removed", external_id="x:removed")
    catalog.client.delete("/v1/admin/titles/x:removed")
    catalog.put("For teenagers", age_rating="DE:6", age_ratings=["GB:15"])
    assert read_titles(catalog) == ["Everywhere", "In one country", "For teenagers"]
    with settings_of(catalog, guest_max_age=12):
        assert read_titles(catalog) == ["Everywhere"]
    with settings_of(catalog, adult_in_feeds=True):
        assert "For adults" in read_titles(catalog) and "Over" not in read_titles(catalog)
    clock.advance(days=1)
    assert "To come" in read_titles(catalog)


def test_an_empty_catalogue_is_a_feed_without_items(catalog):
    with settings_of(catalog, service_name="Films & <Friends>"):
        assert read_items(catalog) == []
        root = ElementTree.fromstring(catalog.get(FEED).data)
        assert root.findtext("channel/title") == "Films & <Friends>"
    assert catalog.viewer().get(FEED).status_code == 401
