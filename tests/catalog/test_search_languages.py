"""Searches as people report them of other servers, in twenty languages, against the demo catalogue and a supplement.

`search_supplement.ndjson` has films under their own names, and series with episodes and characters. A line of a set is
the query, its language and the title expected among the first five, or the kind and the name of another hit.
`searches_fourth.tsv` was written before the search that it tests; `searches_fifth.tsv` afterwards, before it was run.
"""

import csv
import json
from pathlib import Path

import pytest

from tests.worlds.catalog_world import Catalog
from tests.worlds.service import seed_demo

pytestmark = pytest.mark.every_database

DATA = Path(__file__).parent.parent / "data"
SETS = [name for name in ("searches_fourth.tsv", "searches_fifth.tsv") if (DATA / name).exists()]
FIRST = 5


def read_probes(name):
    with (DATA / name).open(encoding="utf-8") as file:
        return [tuple(row) for row in csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)]


def run_probe(catalog, typed, expected):
    """Return whether the expected hit is among the first five, and these."""
    kind, _, name = expected.rpartition(": ")
    if kind in ("episode", "collection", "person"):
        response = catalog.get("/v1/catalog/search", q=typed, kinds=kind, limit=FIRST)
        found = [item.get("name") or item.get("title") for item in response.json.get("items", ())]
        return name in found, found
    found = catalog.search(typed, limit=FIRST)
    return expected in found, found


@pytest.fixture(scope="module")
def catalog(database, new_app):
    catalog = Catalog(new_app(database, "languages", fill=seed_demo))
    with (DATA / "search_supplement.ndjson").open(encoding="utf-8") as file:
        for line in file:
            catalog.put(**json.loads(line))
    return catalog


@pytest.mark.parametrize("name", SETS)
def test_ninety_seven_of_a_hundred_searches_find_what_they_name(catalog, name):
    probes = read_probes(name)
    assert len(probes) >= 200
    misses = []
    for typed, language, expected in probes:
        hit, found = run_probe(catalog, typed, expected)
        if not hit:
            misses.append((language, typed, expected, found[:3]))
    assert len(misses) <= 0.03 * len(probes), "\n".join(map(str, [len(misses), *misses]))
