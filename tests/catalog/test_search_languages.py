"""Searches as people report them of other servers, in twenty languages, against the demo catalogue and a supplement.

`search_supplement.ndjson` has films under their own names, and series with episodes and characters. A line of a set is
the query, its language and the title expected among the first five, or the kind and the name of another hit.
`search_supplement_hindi.ndjson` has names in one script only.
`searches_fourth.tsv` was written before the search that it tests; `searches_fifth.tsv` afterwards, before it was run.
"""

import csv
import json
from pathlib import Path

import pytest
import sqlalchemy as sa

from streamsvc.models import Title
from streamsvc.storage.database import db
from tests.worlds.catalog_world import Catalog
from tests.worlds.service import seed_demo
from tests.worlds.sessions_steps import run_jobs

pytestmark = pytest.mark.every_database

DATA = Path(__file__).parent.parent / "data"
SETS = ("searches_fourth.tsv", "searches_fifth.tsv", "searches_sixth.tsv")
FIRST = 5


def read_probes(name):
    with (DATA / name).open(encoding="utf-8") as file:
        return [tuple(row) for row in csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)]


def read_records(name):
    with (DATA / name).open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def import_titles(catalog, records):
    """Import records of titles, which are films unless they say otherwise."""
    lines = [json.dumps({"external_id": f"test:{r['title']}", "kind": "movie", **r}) for r in records]
    content_type = "application/x-ndjson"
    sent = catalog.client.post("/v1/admin/imports", data="\n".join(lines), content_type=content_type)
    assert sent.status_code == 202, sent.json
    run_jobs(catalog.app)
    result = catalog.get(f"/v1/admin/imports/{sent.json['id']}").json
    assert (result["status"], result["rejected"]) == ("done", 0), result


def add(catalog, record):
    """Put a collection or a series, or merge other names into a title of the demo."""
    if "code" in record:
        response = catalog.client.put(f"/v1/admin/collections/{record.pop('code')}", json=record)
    elif "kind" in record:
        return catalog.put(**record)
    else:
        path = f"/v1/admin/titles/{record.pop('external_id')}"
        response = catalog.client.patch(path, json=record, headers={"If-Match": "*"})
    assert response.status_code == 200, response.json


def run_probe(catalog, typed, expected):
    """Return whether the expected hit is among the first five, and these."""
    kind, _, name = expected.rpartition(": ")
    if kind not in ("episode", "collection", "person"):
        kind, name = "title", expected
    response = catalog.get("/v1/catalog/search", q=typed, kinds=kind, limit=FIRST)
    items = response.json.get("items", ())
    found = [item.get("name") or item.get("title") for item in items]
    return name in found or name in [catalog.external_ids.get(item["id"]) for item in items], found


@pytest.fixture(scope="module")
def catalog(database, new_app):
    catalog = Catalog(new_app(database, "languages", fill=seed_demo))
    import_titles(catalog, read_records("search_supplement.ndjson") + read_records("search_supplement_hindi.ndjson"))
    for record in read_records("search_supplement_sixth.ndjson"):
        add(catalog, record)
    with catalog.app.app_context():
        catalog.external_ids = dict(db.session.execute(sa.select(Title.id, Title.external_id)).all())
    return catalog


@pytest.mark.parametrize("name", SETS)
def test_ninety_seven_of_a_hundred_searches_find_what_they_name(catalog, name):
    probes = read_probes(name)
    assert len(probes) >= 200
    misses = []
    for typed, language, expected, *_ in probes:
        hit, found = run_probe(catalog, typed, expected)
        if not hit:
            misses.append((language, typed, expected, found[:3]))
    assert len(misses) <= 0.03 * len(probes), "\n".join(map(str, [len(misses), *misses]))


KNOWN_HINDI_MISSES = {
    "kabhi kushi kabhi gam",  # two misspellings
    "lage raho munnabhai",  # two words of another script as one
    "amar akbar anthony", "angrezi medium", "राउडी राठौर",  # English words
    "anand", "aanand",  # people of that name come first
    "अग्निपथ",  # `Agneepath` writes a short vowel as a long one
}  # fmt: skip


def test_hindi_names_are_found_in_latin_letters_and_the_other_way_round(catalog):
    """Of names that the catalogue has in one script only; the index does not have the inherent vowels."""
    probes = read_probes("searches_hindi.tsv")
    assert len(probes) >= 70
    misses = {typed for typed, _, expected in probes if not run_probe(catalog, typed, expected)[0]}
    assert misses <= KNOWN_HINDI_MISSES, misses
