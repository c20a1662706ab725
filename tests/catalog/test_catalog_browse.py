"""Series, people, collections, filters and the home page."""

import pytest

from streamsvc.operations.catalog.browse.similar import MAX_TITLES_PER_PERSON
from tests.catalog.test_import import line, ndjson, send
from tests.worlds.catalog_world import Catalog

EPISODES = [{"number": n, "title": f"Part {n}", "runtime_s": 2700, "released_on": f"2020-01-0{n}"} for n in (1, 2, 3)]


@pytest.fixture
def catalog(app):
    return Catalog(app)


def series(**more):
    seasons = [{"number": 1, "title": "One", "episodes": EPISODES}, {"number": 2, "episodes": EPISODES[:1]}]
    return {"kind": "series", "seasons": seasons, **more}


def test_a_series_has_seasons_and_episodes(catalog):
    title = catalog.put("Show", **series())
    seasons = catalog.get(f"/v1/catalog/titles/{title}/seasons").json["items"]
    assert [(s["number"], s["title"], s["episode_count"]) for s in seasons] == [(1, "One", 3), (2, None, 1)]
    episodes = catalog.get(f"/v1/catalog/titles/{title}/episodes").json["items"]
    assert [(e["season"], e["number"]) for e in episodes] == [(1, 1), (1, 2), (1, 3), (2, 1)]
    second = catalog.get(f"/v1/catalog/titles/{title}/episodes", season=2).json["items"]
    assert [e["title"] for e in second] == ["Part 1"]
    complete = catalog.get(f"/v1/catalog/titles/{title}", expand="seasons").json
    assert complete["seasons"][0]["episodes"] == episodes[:3]
    one = catalog.get(f"/v1/catalog/episodes/{episodes[0]['id']}").json
    assert one["availability"]["playable"]
    assert one == episodes[0]
    assert (one["title_id"], one["released_on"], one["runtime_s"]) == (title, "2020-01-01", 2700)


def test_episodes_keep_their_ids_when_changed_removed_and_restored(catalog):
    title = catalog.put("Show", **series())
    before = {e["number"]: e["id"] for e in catalog.get(f"/v1/catalog/titles/{title}/episodes", season=1).json["items"]}
    fewer = [{"number": 1, "episodes": [{"number": 1, "title": "Renamed"}, {"number": 2}]}]
    catalog.put("Show", kind="series", seasons=fewer)
    now = catalog.get(f"/v1/catalog/titles/{title}/episodes").json["items"]
    assert [(e["id"], e["title"]) for e in now] == [(before[1], "Renamed"), (before[2], None)]
    assert catalog.get(f"/v1/catalog/episodes/{before[3]}").status_code == 404
    catalog.put("Show", **series())
    assert catalog.get(f"/v1/catalog/episodes/{before[3]}").json["title"] == "Part 3"


def test_episodes_share_the_availability_of_their_series(catalog):
    title = catalog.put("Show", **series(age_rating="US:TV-MA", windows=[{"countries": ["US"]}]))
    episode = catalog.get(f"/v1/catalog/titles/{title}/episodes").json["items"][0]["id"]
    kid, ann = catalog.viewer(country="US", max_age=12), catalog.viewer(country="DE")
    for path in (f"titles/{title}", f"titles/{title}/seasons", f"titles/{title}/episodes", f"episodes/{episode}"):
        assert kid.get(f"/v1/catalog/{path}").status_code == 404
        assert ann.get(f"/v1/catalog/{path}").status_code == 200
    assert ann.get(f"/v1/catalog/episodes/{episode}").json["availability"]["playable"] is False


def test_a_filmography_omits_titles_the_viewer_may_not_see(catalog):
    people = [{"name": "Ann Actor", "role": "actor", "character": "Queen"}, {"name": "Ann Actor", "role": "director"}]
    catalog.put("Old", year=1990, credits=people, age_rating="US:G")
    title = catalog.put("New", year=2020, credits=people[:1], age_rating="US:R")
    person = catalog.get(f"/v1/catalog/titles/{title}").json["credits"][0]["person_id"]
    page_json = catalog.get(f"/v1/catalog/people/{person}").json
    assert page_json["name"] == "Ann Actor"
    assert [(c["title"]["title"], c["role"], c["character"]) for c in page_json["credits"]] == [
        ("New", "actor", "Queen"),
        ("Old", "actor", "Queen"),
        ("Old", "director", None),
    ]
    assert catalog.titles(person=person) == ["New", "Old"]
    kid = catalog.viewer(max_age=10)
    assert {c["title"]["title"] for c in kid.get(f"/v1/catalog/people/{person}").json["credits"]} == {"Old"}
    toddler = catalog.viewer(max_age=0)
    assert len(toddler.get(f"/v1/catalog/people/{person}").json["credits"]) == 2
    catalog.put("Old", year=1990, age_rating="US:G")
    assert toddler.get(f"/v1/catalog/people/{person}").status_code == 404
    assert catalog.get("/v1/catalog/people/per_none").status_code == 404


def put_collection(catalog, code, *items, **more):
    body = {"title": code.title(), "items": items, **more}
    return catalog.client.put(f"/v1/admin/collections/{code}", json=body)


def test_a_collection_keeps_the_operators_order(catalog):
    ids = [catalog.put(name, external_id=f"x:{name}") for name in ("Alpha", "Bravo", "Charlie")]
    collection = put_collection(catalog, "best", "x:Charlie", ids[0], "x:Bravo", localizations={"de": "Beste"}).json
    page = catalog.get("/v1/catalog/collections/best", limit=2).json
    assert [item["title"] for item in page["items"]] == ["Charlie", "Alpha"]
    rest = catalog.get(f"/v1/catalog/collections/{collection['id']}", limit=2, cursor=page["next_cursor"]).json
    assert [item["title"] for item in rest["items"]] == ["Bravo"]
    assert catalog.get("/v1/catalog/collections", locale="de-AT").json["items"][0]["title"] == "Beste"
    assert catalog.titles(collection="best", sort="title") == catalog.titles(collection=collection["id"], sort="title")
    assert put_collection(catalog, "best", "x:none").status_code == 422
    again = put_collection(catalog, "best", "x:Bravo").json
    assert again["id"] == collection["id"]
    assert catalog.titles(collection="best") == ["Bravo"]
    assert catalog.client.delete("/v1/admin/collections/best").status_code == 204
    assert catalog.get("/v1/catalog/collections/best").status_code == 404


def test_every_list_supports_paging_and_totals(catalog):
    show = catalog.put("A Show", genres=["crime", "drama", "war"], age_rating="US:G", **series())
    other = catalog.put("Another Show", age_rating="US:G")
    hidden = catalog.put("A Show of War", age_rating="US:R")
    for code in ("best", "worst"):
        put_collection(catalog, code, show, other, hidden)
    ann = catalog.viewer(max_age=12)
    for path, length in (
        ("genres", 3),
        ("collections", 2),
        ("collections/best", 2),
        (f"titles/{show}/seasons", 2),
        (f"titles/{show}/episodes", 4),
        ("search?q=show", 2),
        ("search?q=shov", 2),
    ):
        path, _, q = path.partition("?q=")
        query = {"q": q} if q else {}
        complete = ann.get(f"/v1/catalog/{path}", include_total="true", **query).json
        assert (len(complete["items"]), complete["total"], complete["next_cursor"]) == (length, length, None), path
        assert "total" not in ann.get(f"/v1/catalog/{path}", **query).json
        assert [page[0] for page in ann.walk(f"/v1/catalog/{path}", limit=1, **query)] == complete["items"]
        assert ann.get(f"/v1/catalog/{path}", limit=101, **query).status_code == 422


def test_a_changed_title_stays_in_its_collections(catalog):
    catalog.put("Film", external_id="x:1", year=1990)
    put_collection(catalog, "best", "x:1")
    catalog.put("Renamed", external_id="x:1", year=2000)
    assert catalog.titles(collection="best", sort="-year") == ["Renamed"]
    assert catalog.get("/v1/catalog/collections/best").json["items"][0]["title"] == "Renamed"


def test_a_collection_without_visible_titles_is_absent(catalog):
    catalog.put("Film", external_id="x:1", windows=[])
    put_collection(catalog, "secret", "x:1")
    ann = catalog.viewer()
    assert ann.get("/v1/catalog/collections").json["items"] == []
    assert ann.get("/v1/catalog/home").json["items"] == []
    assert ann.get("/v1/catalog/collections/secret").status_code == 404
    assert len(catalog.get("/v1/catalog/collections/secret").json["items"]) == 1


def test_a_list_of_collections_costs_the_same_for_any_number_of_them(catalog, statements):
    catalog.put("Film", external_id="x:1")
    catalog.put("Hidden", external_id="x:2", windows=[])
    for number in range(6):
        put_collection(catalog, f"c{number}", f"x:{number % 2 + 1}")
    ann = catalog.viewer()
    statements.clear()
    first, last = ann.walk("/v1/catalog/collections", limit=2, include_total="true")
    assert [row["code"] for row in first + last] == ["c0", "c2", "c4"]
    assert len([text for text in statements if "FROM collections" in text]) == 4, "two pages, each with its total"


def rows(caller):
    return [
        (row["kind"], row["title"], [i["title"] for i in row["items"]])
        for row in caller.get("/v1/catalog/home").json["items"]
    ]


def test_home_has_the_default_rows_until_an_operator_replaces_them(catalog):
    catalog.put("Alpha", popularity=5)
    catalog.put("Bravo")
    put_collection(catalog, "best", "test:Bravo")
    ann = catalog.viewer()
    assert rows(ann) == [
        ("popular", "Popular", ["Alpha", "Bravo"]),
        ("new", "New", ["Bravo", "Alpha"]),
        ("collection", "Best", ["Bravo"]),
    ]
    put = [
        {"kind": "collection", "collection": "best"},
        {"kind": "new", "title": "Fresh", "localizations": {"de": "Neu"}},
    ]
    assert catalog.client.put("/v1/admin/home", json={"items": put}).status_code == 200
    assert catalog.get("/v1/admin/home").json["items"] == [
        {"kind": "collection", "collection": "best", "title": None, "localizations": {}},
        {"kind": "new", "collection": None, "title": "Fresh", "localizations": {"de": "Neu"}},
    ]
    assert [row[:2] for row in rows(ann)] == [("collection", "Best"), ("new", "Fresh")]
    assert [row[1] for row in rows(catalog.viewer(language="de"))] == ["Best", "Neu"]
    for wrong in ({"kind": "collection"}, {"kind": "collection", "collection": "none"}, {"kind": "odd"}):
        assert catalog.client.put("/v1/admin/home", json={"items": [wrong]}).status_code == 422


def test_home_has_twenty_collections_and_twenty_four_titles_a_row(catalog):
    for number in range(25):
        catalog.put(f"T{number}")
    for number in range(21):
        put_collection(catalog, f"c{number}", "test:T0")
    shown = rows(catalog.viewer())
    assert [len(items) for kind, _, items in shown if kind == "new"] == [24]
    assert [kind for kind, _, _ in shown].count("collection") == 20


def test_home_has_rows_of_what_the_profile_watches(app, catalog):
    genres, people = ["drama"], [{"name": "Ann", "role": "actor"}]
    seen = catalog.put("Seen", genres=genres, credits=people, runtime_s=6000)
    catalog.put("Like it", genres=genres, credits=people)
    started = catalog.put("Begun", runtime_s=6000)
    show = catalog.put("Show", **series())
    episodes = catalog.get(f"/v1/catalog/titles/{show}/episodes").json["items"]
    ann, ben = catalog.viewer(), catalog.viewer()
    profile = ann.get("/v1/profiles").json["items"][0]["id"]
    at = app.extensions["clock"]().isoformat()
    for item, position, length in ((seen, 5990, 6000), (started, 3000, 6000), (episodes[0]["id"], 2699, 2700)):
        report = {"position_s": position, "duration_s": length, "at": at}
        assert ann.client.put(f"/v1/profiles/{profile}/progress/{item}", json=report).status_code == 200
    first = {kind: (title, items) for kind, title, items in rows(ann)}
    assert first["continue"] == ("Continue watching", ["Begun"])
    assert first["next_up"] == ("Next up", ["Show"])
    assert first["because"][0] in ("Because you watched Seen", "Because you watched Show")
    assert not {"continue", "next_up", "because"} & {kind for kind, _, _ in rows(ben)}
    up = next(row for row in ann.get("/v1/catalog/home").json["items"] if row["kind"] == "next_up")["items"][0]
    assert (up["item_id"], up["episode"]["number"]) == (episodes[1]["id"], 2)
    before = ann.get("/v1/catalog/home").headers["ETag"]
    report = {"position_s": 3100, "duration_s": 6000, "at": app.extensions["clock"]().replace(minute=1).isoformat()}
    ann.client.put(f"/v1/profiles/{profile}/progress/{started}", json=report)
    assert ann.get("/v1/catalog/home").headers["ETag"] != before


def test_a_title_no_longer_visible_is_not_the_seed_of_a_home_row(app, catalog):
    kid = catalog.viewer(max_age=12, language="de")
    profile = kid.get("/v1/profiles").json["items"][0]["id"]
    for minute, name in enumerate(("Old", "New", "Other")):
        german = {"de": {"title": f"{name} auf Deutsch"}}
        title = catalog.put(name, age_rating="US:G", genres=["drama"], runtime_s=6000, localizations=german)
        at = app.extensions["clock"]().replace(minute=minute).isoformat()
        report = {"position_s": 5990, "duration_s": 6000, "at": at}
        if name != "Other":
            kid.client.put(f"/v1/profiles/{profile}/progress/{title}", json=report)

    def because():
        return next((title, set(items)) for kind, title, items in rows(kid) if kind == "because")

    assert because() == ("Because you watched New auf Deutsch", {"Old auf Deutsch", "Other auf Deutsch"})
    catalog.put("New", genres=["drama"], runtime_s=6000)
    assert because() == ("Because you watched Old auf Deutsch", {"Other auf Deutsch"})


def test_similar_titles_share_people_and_genres(catalog):
    crew = [{"name": "Ann", "role": "director"}]
    title = catalog.put("One", genres=["drama", "war"], credits=crew)
    catalog.put("Both genres", genres=["drama", "war"])
    catalog.put("Same director", genres=["comedy"], credits=crew)
    catalog.put("One genre", genres=["war"], popularity=9)
    catalog.put("Nothing", genres=["comedy"])
    catalog.put("Hidden", genres=["drama", "war"], credits=crew, windows=[])
    page_json = catalog.viewer().get(f"/v1/catalog/titles/{title}", expand="similar,credits").json
    assert [item["title"] for item in page_json["similar"]] == ["Same director", "Both genres", "One genre"]
    assert catalog.get(f"/v1/catalog/titles/{title}", expand="everything").status_code == 422


def test_only_the_latest_titles_of_a_prolific_person_count_as_similar(catalog):
    ann = [{"name": "Ann", "role": "actor"}]
    file = ndjson(
        *(line(number, credits=ann, popularity=max(0, 9 - number)) for number in range(MAX_TITLES_PER_PERSON + 2))
    )
    send(catalog, file)
    last = catalog.get("/v1/catalog/titles", sort="-added", limit=1).json["items"][0]
    assert last["title"] == f"Film {MAX_TITLES_PER_PERSON + 1}"
    page_json = catalog.get(f"/v1/catalog/titles/{last['id']}", expand="similar").json["similar"]
    assert [item["title"] for item in page_json][:2] == ["Film 2", "Film 3"]


def test_filters_list_the_available_values(catalog):
    catalog.put("A", year=1990, genres=["drama"], languages=["pt-BR"], countries=["BR"], age_rating="US:G")
    catalog.put("B", kind="series", year=2020, genres=["war"], countries=["US"], age_rating="US:R")
    page_json = catalog.get("/v1/catalog/filters").json
    assert page_json["years"] == {"min": 1990, "max": 2020}
    assert (page_json["kinds"], page_json["countries"], page_json["languages"]) == (
        ["movie", "series"],
        ["BR", "US"],
        ["pt", "pt-BR"],
    )
    assert [genre["name"] for genre in page_json["genres"]] == ["Drama", "War"]
    kid = catalog.viewer(max_age=6).get("/v1/catalog/filters").json
    assert (kid["kinds"], kid["years"]["max"], kid["genres"]) == (["movie"], 1990, [{"code": "drama", "name": "Drama"}])


def test_an_operator_sees_every_title_in_lists_and_home(catalog):
    catalog.put("Nowhere", windows=[])
    assert catalog.titles() == ["Nowhere"]
    assert rows(catalog)[0][2] == ["Nowhere"]
