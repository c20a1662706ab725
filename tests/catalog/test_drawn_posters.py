"""GET /v1/catalog/titles/{id}/poster.svg: who sees it, and how it is cached."""

from streamsvc.app import create_app
from tests.conftest import close_app
from tests.worlds.catalog_world import Catalog, Visitor
from tests.worlds.playback_steps import CARTOON, FILM, World


def test_a_viewer_gets_a_poster_that_may_be_cached_and_a_child_only_what_it_may_see(app):
    world = World(app)
    world.put_titles(FILM | {"title": "Love & <War>", "year": 1951}, CARTOON)
    ann = world.household()
    path = f"/v1/catalog/titles/{world.ids['film']}/poster.svg"
    poster = ann.get(path)
    assert (poster.status_code, poster.content_type) == (200, "image/svg+xml")
    assert "Love &amp; &lt;War&gt;" in poster.text and ">1951<" in poster.text
    assert poster.headers["Cache-Control"] == "private, max-age=3600"
    assert ann.call("GET", path, If_None_Match=poster.headers["ETag"]).status_code == 304
    child = ann.post("/v1/profiles", {"name": "Kid", "kids": True, "max_age": 6}).json["id"]
    assert ann.patch("/v1/sessions/current", {"profile_id": child}).status_code == 200
    assert ann.get(path).json["code"] == "not_found"
    assert ann.get(f"/v1/catalog/titles/{world.ids['cartoon']}/poster.svg").status_code == 200
    assert app.test_client().get(path).status_code == 401


def test_a_poster_changes_with_its_title(app):
    world = World(app)
    world.put_titles(FILM)
    path = f"/v1/catalog/titles/{world.ids['film']}/poster.svg"
    first = world.operator.get(path)
    world.put_titles(FILM | {"title": "Another"})
    second = world.operator.call("GET", path, If_None_Match=first.headers["ETag"])
    assert second.status_code == 200 and "Another" in second.text


def test_visitors_of_a_public_catalogue_share_a_poster(app):
    title_id = Catalog(app).put("A Film")
    public = create_app(app.extensions["settings"].replace(catalog="public"), now=app.extensions["clock"])
    response = Visitor(public, "DE").get(f"/v1/catalog/titles/{title_id}/poster.svg")
    assert response.headers["Cache-Control"] == "public, max-age=3600, s-maxage=3600"
    assert "Authorization" in response.headers["Vary"]
    close_app(public)
