"""How tables would be distributed on a cluster by account (docs/scaling.md), against tests/service/distribution.txt.

The list says for each table where its rows would be, which of its unique constraints only hold within one node then,
and for each route how many of its statements would ask every node. If one of them should change, rewrite the list and
commit it with the change:

    STREAMSVC_TEST_WRITE_DISTRIBUTION=1 python -m pytest tests/service/test_distribution.py
"""

import os
import re
from pathlib import Path

import pytest
import sqlalchemy as sa

from streamsvc.http.hot_reads import HotReads
from streamsvc.storage.database import db
from tests.service.test_statement_counts import ROWS, CountingWorld
from tests.worlds import hot_reads
from tests.worlds.sent_statements import sent_statements

LIST_FILE = Path(__file__).with_name("distribution.txt")
WRITE_VARIABLE = "STREAMSVC_TEST_WRITE_DISTRIBUTION"
COLUMN = "account_id"
PARENTS = ("profile_id", "subscription_id", "invoice_id", "credit_note_id", "session_id", "event_id")
"""Columns that name the row to which a row without an account of its own belongs, and whose account it shares."""
ON_EACH_NODE = {
    *"channels channel_media_files collections collection_items episodes episode_plans extras facets home_rows".split(),
    *"media_files part_windows people programmes programme_entries seasons search_docs search_entries".split(),
    *"search_words titles title_age_ratings title_cards title_credits title_details title_facets title_plans".split(),
    *"title_records title_windows catalog_state".split(),
    *"coupons legal_entities legal_entity_countries plans prices price_migrations referral_rewards".split(),
    *"store_products tax_rates operators api_keys service_epoch webhook_endpoints".split(),
}
"""Reference tables, which each node has whole: the catalogue, what is sold, who operates."""


def columns_of(table: sa.Table) -> set[str]:
    return {column.name for column in table.columns}


def find_place(table: sa.Table) -> str:
    """Return where a table's rows are: the column they are distributed by, `each`, or `one`."""
    if table.name == "accounts":
        return "id"
    if table.name in ON_EACH_NODE:
        return "each"
    if COLUMN in columns_of(table):
        return COLUMN
    return next((f"{column}+" for column in PARENTS if column in columns_of(table)), "one")


def find_weakened(table: sa.Table) -> list[str]:
    """Return what is unique in the table and does not have the column by which it is distributed."""
    keys = [table.primary_key, *(each for each in table.constraints if isinstance(each, sa.UniqueConstraint))]
    names = [[column.name for column in key.columns] for key in keys]
    names += [
        [getattr(part, "name", str(part)) for part in index.expressions] for index in table.indexes if index.unique
    ]
    place = find_place(table).rstrip("+")
    return sorted({",".join(key) for key in names if place not in key})


def crosses_nodes(text: str) -> bool:
    """Whether a statement reads or changes rows of accounts without naming the account."""
    tables = {table for table in re.findall(r"(?:FROM|JOIN|UPDATE|INTO) \"?(\w+)", text)}
    by_name = db.metadata.tables
    distributed = {name for name in tables if name in by_name and find_place(by_name[name]) not in ("each", "one")}
    if not distributed or text.lstrip().startswith("INSERT"):
        return False
    return not re.search(r"\baccount_id (=|IN|= ANY)|\baccounts\.id (=|IN|= ANY)", text)


@pytest.fixture
def world(app, monkeypatch):
    monkeypatch.setattr(HotReads, "answer", hot_reads._answer)
    monkeypatch.delitem(app.extensions, "account_clock")
    with sent_statements(app) as texts:
        yield CountingWorld(app, texts)


def describe_tables() -> list[str]:
    lines = []
    for name in sorted(db.metadata.tables):
        place = find_place(db.metadata.tables[name])
        weakened = [] if place in ("each", "one") else find_weakened(db.metadata.tables[name])
        lines.append(f"table {name:<28} {place:<16} {' '.join(weakened)}".rstrip())
    return lines


@pytest.mark.one_database
def test_the_list_says_where_each_row_would_be_and_which_requests_would_ask_every_node(world):
    lines = describe_tables()
    for row in ROWS:
        if row.rule.startswith("/v1/") and not row.rule.startswith(("/v1/admin", "/v1/sandbox")):
            crossing = sum(map(crosses_nodes, world.measure(row).statements))
            if crossing:
                lines.append(f"route {row.method:<6} {row.rule:<64} {crossing}")
    header = [line for line in LIST_FILE.read_text().splitlines() if line.startswith("#")]
    if os.environ.get(WRITE_VARIABLE) == "1":
        LIST_FILE.write_text("\n".join([*header, "", *lines]) + "\n")
    written = [line for line in LIST_FILE.read_text().splitlines() if line and not line.startswith("#")]
    assert lines == written, f"{LIST_FILE.name} is not true (see {__name__})"


@pytest.mark.one_database
def test_only_tables_of_accounts_are_distributed(app):
    tables = db.metadata.tables
    assert tables.keys() >= ON_EACH_NODE
    places = {name: find_place(table) for name, table in tables.items()}
    for name, place in places.items():
        refers_to = {key.column.table.name for key in tables[name].foreign_keys}
        if place == "each":
            assert {places[other] for other in refers_to} <= {"each"}, f"{name}: a node has not what it refers to"
        if place.endswith("+"):
            parents = [other for other in refers_to if places[other] not in ("each", "one")]
            assert parents or place == "event_id+", name
