"""People with ids, what operators say of them, and merging two of them."""

import json

import pytest
import sqlalchemy as sa

from streamsvc.models import Person, TitleDetail
from streamsvc.operations.catalog.imports import importing, local_files
from streamsvc.operations.catalog.titles import writing
from streamsvc.rules.catalog.record import decode_record
from streamsvc.storage.database import db
from streamsvc.worker import jobs
from tests.worlds.catalog_world import Catalog

pytestmark = pytest.mark.every_database
HOLLAND = {"name": "Tom Holland", "role": "actor"}
NM1, NM2 = "imdb:nm4043618", "imdb:nm0276169"
PORTRAIT = {"role": "profile", "url": "https://img.example/holland.jpg", "width": 300}
SHOWN_PORTRAIT = PORTRAIT | {"height": None, "language": None}


@pytest.fixture
def catalog(app):
    return Catalog(app)


def run_jobs(catalog, clock):
    with catalog.app.app_context():
        jobs.run_due_jobs(clock.at)


def credit(catalog, title_id):
    return catalog.get(f"/v1/catalog/titles/{title_id}").json["credits"][0]


def put_person(catalog, external_id, **record):
    response = catalog.client.put(f"/v1/admin/people/{external_id}", json=record)
    assert response.status_code == 200, response.json
    return response.json["id"]


def filmography(caller, person_id, **query):
    page = caller.get(f"/v1/catalog/people/{person_id}", **query)
    return [item["title"]["title"] for item in page.json["credits"]] if page.status_code == 200 else page.status_code


def test_two_people_of_one_name_are_two(catalog):
    actor, director = (
        credit(catalog, catalog.put(title, credits=[HOLLAND | {"person": external_id}]))["person_id"]
        for title, external_id in (("Uncharted", NM1), ("Child's Play", NM2))
    )
    assert actor != director
    assert filmography(catalog, actor) == ["Uncharted"]
    unknown = credit(catalog, catalog.put("Cherry", credits=[HOLLAND]))["person_id"]
    assert unknown not in (actor, director)  # nobody knows which of the two it is
    assert credit(catalog, catalog.put("Finch", credits=[HOLLAND]))["person_id"] == unknown
    alone = credit(catalog, catalog.put("Salt", credits=[{"name": "A Name", "role": "actor", "person": "x:1"}]))
    assert credit(catalog, catalog.put("Wanted", credits=[{"name": "A Name", "role": "writer"}])) == alone | {
        "role": "writer"
    }


def test_somebody_known_by_name_keeps_the_public_id_when_ids_arrive(catalog):
    known = credit(catalog, catalog.put("Uncharted", credits=[HOLLAND]))["person_id"]
    assert put_person(catalog, NM1, name="Tom Holland") == known
    other = credit(catalog, catalog.put("Child's Play", credits=[HOLLAND | {"person": NM2}]))["person_id"]
    assert other != known
    again = catalog.put("Uncharted", credits=[HOLLAND | {"person": NM1}])
    assert credit(catalog, again)["person_id"] == known


def test_of_two_new_ids_for_a_name_the_one_of_a_title_that_credited_it_is_meant(catalog):
    uncharted = catalog.put("Uncharted", credits=[HOLLAND])
    known = credit(catalog, uncharted)["person_id"]
    records = [
        {"external_id": f"test:{title}", "kind": "movie", "title": title, "credits": [HOLLAND | {"person": person}]}
        for title, person in (("Child's Play", NM2), ("Uncharted", NM1))
    ]
    with catalog.app.app_context():
        batch = [importing.FileEntry(n, decode_record(json.dumps(line).encode())) for n, line in enumerate(records, 1)]
        importing.import_entries(batch)
    assert credit(catalog, uncharted)["person_id"] == known
    assert filmography(catalog, known) == ["Uncharted"]


def test_a_person_page_has_what_the_operator_says_and_what_the_viewer_may_see(catalog):
    person = {"name": "Tom Holland", "sort_name": "Holland, Tom", "born_on": "1996-06-01", "biography": "An actor."}
    localized = {"de": {"biography": "Ein Schauspieler."}}
    person_id = put_person(catalog, NM1, **person, artwork=[PORTRAIT], localizations=localized, external_ids={"x": "1"})
    for year in (2019, 2021, 2022):
        rating = "US:R" if year == 2021 else "US:G"
        catalog.put(f"Film {year}", year=year, age_rating=rating, credits=[HOLLAND | {"person": NM1}])
    catalog.put("Somebody else's", credits=[HOLLAND | {"person": NM2}])
    page = catalog.viewer(language="de").get(f"/v1/catalog/people/{person_id}").json
    assert (page["biography"], page["artwork"]) == ("Ein Schauspieler.", [SHOWN_PORTRAIT])
    assert {**page, **person, "biography": page["biography"]} == page
    child = catalog.viewer(max_age=6)
    assert filmography(child, person_id) == ["Film 2022", "Film 2019"]
    first = child.get(f"/v1/catalog/people/{person_id}", limit=1).json
    assert [item["title"]["title"] for item in first["credits"]] == ["Film 2022"]
    assert filmography(child, person_id, limit=1, cursor=first["next_cursor"]) == ["Film 2019"]
    assert child.titles(person=person_id, sort="year") == ["Film 2019", "Film 2022"]


def test_title_pages_show_a_new_picture_once_the_worker_has_run(catalog, clock):
    uncharted, finch = (catalog.put(title, credits=[HOLLAND | {"person": NM1}]) for title in ("Uncharted", "Finch"))
    assert "picture" not in credit(catalog, uncharted)
    put_person(catalog, NM1, name="Thomas Holland", artwork=[{"role": "still", "url": "/s.jpg"}, PORTRAIT])
    run_jobs(catalog, clock)
    for title in (uncharted, finch):
        assert credit(catalog, title) == {"character": None, **HOLLAND, **pictured(catalog, title)}
    assert credit(catalog, catalog.put("Cherry", credits=[HOLLAND | {"person": NM1}]))["picture"] == SHOWN_PORTRAIT
    assert catalog.client.delete(f"/v1/admin/people/{NM1}").status_code == 204
    run_jobs(catalog, clock)
    assert "picture" not in credit(catalog, uncharted)
    assert catalog.client.delete(f"/v1/admin/people/{NM1}").status_code == 404


def pictured(catalog, title):
    return {"person_id": credit(catalog, title)["person_id"], "picture": SHOWN_PORTRAIT}


def test_a_person_is_edited_like_a_title(catalog):
    path = f"/v1/admin/people/{NM1}"
    created = catalog.client.put(path, json={"name": "Tom Holland"}, headers={"If-None-Match": "*"})
    stored = {"id": created.json["id"], "external_id": NM1, "name": "Tom Holland"}
    assert (created.status_code, created.json) == (200, stored)
    assert catalog.client.put(path, json=created.json, headers={"If-Match": '"other"'}).status_code == 412
    assert catalog.client.put(path, json=created.json, headers={"If-Match": created.headers["ETag"]}).status_code == 200
    assert catalog.get(f"/v1/admin/people/{created.json['id']}").data == created.data
    for body, field in (
        ({"name": "T", "born_on": "1996-06-01", "died_on": "1990-01-01"}, "died_on"),
        ({"name": "T", "kind": "movie"}, "kind"),
        ({"name": "T", "localizations": {"!!": {}}}, "localizations.!!"),
        ({"name": "T", "external_id": NM2}, "external_id"),
        ({"name": "T", "height": 1}, "height"),
        ({}, "name"),
    ):
        refused = catalog.client.put(path, json=body)
        assert (refused.status_code, list(refused.json["errors"])) == (422, [field])
    assert catalog.client.put("/v1/admin/people/per_unknown", json={"name": "T"}).status_code == 404


def test_people_are_in_the_catalogue_file(catalog, clock, tmp_path):
    lines = [
        {"kind": "movie", "external_id": "x:1", "title": "Uncharted", "credits": [HOLLAND | {"person": NM1}]},
        {"kind": "person", "external_id": NM1, "name": "Tom Holland", "artwork": [PORTRAIT], "born_on": "1996-06-01"},
        {"kind": "person", "external_id": NM2, "name": "Tom Holland", "born_on": "yesterday"},
        {"kind": "person", "external_id": "x:1", "name": "Of another kind"},
    ]
    file = tmp_path / "titles.ndjson"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with catalog.app.app_context():
        trial = local_files.import_file(file, dry_run=True)
        assert (trial.added, trial.rejected) == (3, 1)
        assert catalog.get("/v1/admin/people").json["items"] == []
        report = local_files.import_file(file)
        assert (report.added, report.rejected) == (3, 1)
        [rejection] = report.rejections
        assert (rejection.line, rejection.external_id, rejection.error.field) == (3, NM2, "born_on")
        exported = catalog.get("/v1/admin/catalog-exports/ndjson").text
        assert [json.loads(line)["kind"] for line in exported.splitlines()] == ["person", "person", "movie"]
        file.write_text(exported)
        assert local_files.import_file(file).unchanged == 3
    [film] = catalog.get("/v1/catalog/titles").json["items"]
    assert credit(catalog, film["id"])["picture"] == SHOWN_PORTRAIT


def test_operators_find_people_by_name_and_id(catalog):
    catalog.put("A", credits=[{"name": name, "role": "actor"} for name in ("Léa Seydoux", "Lea Thompson", "Bea")])
    put_person(catalog, NM1, name="Tom Holland")
    pages = [[person["name"] for person in page] for page in catalog.walk("/v1/admin/people", limit=2)]
    assert pages == [["Bea", "Léa Seydoux"], ["Lea Thompson", "Tom Holland"]]
    found = catalog.get("/v1/admin/people", q="LEA", include_total="true").json
    assert ([(person["name"], person["titles"]) for person in found["items"]], found["total"]) == (
        [("Léa Seydoux", 1), ("Lea Thompson", 1)],
        2,
    )
    [person] = catalog.get("/v1/admin/people", q=NM1).json["items"]
    assert (person["name"], person["has_record"], person["titles"]) == ("Tom Holland", True, 0)
    assert catalog.get("/v1/admin/people", q=person["id"]).json["items"] == [person]


def test_a_merged_persons_credits_and_names_lead_to_the_other(catalog, clock):
    put_person(catalog, NM1, name="Tom Holland", artwork=[PORTRAIT])
    put_person(catalog, NM2, name="Tom Holland")
    known = credit(catalog, catalog.put("Uncharted", credits=[HOLLAND | {"person": NM1}]))["person_id"]
    unsure = catalog.put("Cherry", credits=[HOLLAND, HOLLAND | {"role": "writer"}])
    other = credit(catalog, unsure)["person_id"]
    untouched = credit(catalog, catalog.put("Child's Play", credits=[HOLLAND | {"person": NM2}]))

    def merge(person_id, into, **options):
        return catalog.client.post(f"/v1/admin/people/{person_id}/merge", json={"into": into, **options})

    counts = {"id": known, "merged": other, "titles": 1, "credits": 2}
    assert merge(other, known, dry_run=True).json == counts | {"dry_run": True}
    assert filmography(catalog, other) == ["Cherry", "Cherry"]
    assert merge(other, known).json == counts | {"dry_run": False}
    run_jobs(catalog, clock)
    assert credit(catalog, unsure) == {"character": None, **HOLLAND, "person_id": known, "picture": SHOWN_PORTRAIT}
    assert filmography(catalog, other) == filmography(catalog, known) == ["Cherry", "Cherry", "Uncharted"]
    assert sorted(catalog.titles(person=other)) == ["Cherry", "Uncharted"]
    assert credit(catalog, catalog.put("Finch", credits=[HOLLAND]))["person_id"] == known
    assert credit(catalog, catalog.put("Cherry", year=2021, credits=[HOLLAND]))["person_id"] == known
    assert (merge(other, known).json["code"], merge(known, other).status_code) == ("already_merged", 422)
    assert (merge(known, known).status_code, merge("per_unknown", known).status_code) == (422, 404)
    [first_title] = catalog.get(f"/v1/catalog/people/{untouched['person_id']}").json["credits"]
    assert credit(catalog, first_title["title"]["id"]) == untouched
    assert merge(untouched["person_id"], known).status_code == 200
    assert filmography(catalog, untouched["person_id"]) == filmography(catalog, other)


def test_people_and_titles_of_an_earlier_release_are_completed(catalog, clock):
    film = catalog.put("Film", credits=[{"name": "Léa Seydoux", "role": "actor"}])
    with catalog.app.app_context():
        db.session.execute(sa.update(Person).values(name_key=""))
        detail = db.session.scalars(sa.select(TitleDetail.body)).one()
        former = ("credits", "markers", "tracks", "extras")
        members = {name: value for name, value in json.loads(detail).items() if name in former}
        db.session.execute(sa.update(TitleDetail).values(body=json.dumps(members, separators=(",", ":"))))
        writing.increment_catalog_version()
        db.session.commit()
        assert catalog.get("/v1/admin/people", q="lea").json["items"] == []
        clock.advance(hours=2)
        jobs.schedule_recurring()
        clock.advance(hours=1)
        jobs.run_due_jobs(clock.at)
    assert [person["name"] for person in catalog.get("/v1/admin/people", q="lea").json["items"]] == ["Léa Seydoux"]
    page = catalog.get(f"/v1/catalog/titles/{film}").json
    assert (page["tags"], page["studios"], page["adult"], page["credits"][0]["name"]) == ([], [], False, "Léa Seydoux")


@pytest.mark.every_database
@pytest.mark.parametrize("letter", ["\u9580", "\U00020000", "\ufdfa", "\U0001f600"])
def test_people_with_long_names_are_paged(catalog, letter):
    catalog.put("Film", credits=[{"name": letter * 499 + last, "role": "actor"} for last in "abc"])
    names = [person["name"][-1] for page in catalog.walk("/v1/admin/people", limit=1) for person in page]
    assert names == ["a", "b", "c"]
