"""Hits as JSON, in the caller's language, with the field by which each was found."""

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from streamsvc import clock
from streamsvc.models import SearchDoc
from streamsvc.operations.catalog.browse.collections import localized_title
from streamsvc.operations.catalog.channels.views import channel_reference, programme_view
from streamsvc.operations.catalog.reading.audience import Audience
from streamsvc.operations.catalog.reading.shown_cards import shown_cards
from streamsvc.operations.catalog.reading.version import CatalogSnapshot
from streamsvc.operations.catalog.search.searching import (
    Search,
    SearchHit,
    build_search,
    count_hits,
    search_page,
)
from streamsvc.operations.catalog.titles.json_fragments import (
    encode_json,
    json_page,
    merge_json_objects,
    select_members,
)
from streamsvc.rules.catalog.inputs import NO_TITLE_FILTERS, SearchInput, SuggestionsInput
from streamsvc.rules.catalog.match_fields import is_in_name, match_field
from streamsvc.rules.catalog.search import distinctive_words
from streamsvc.storage.compiled_statements import CompiledStatement
from streamsvc.storage.database import db


class CardNames(msgspec.Struct):
    """The names on a title's card."""

    title: str
    original_title: str | None


class SuggestedTitle(msgspec.Struct):
    """What a suggestion has of a title's card; a channel's name is its title."""

    id: str
    kind: str
    title: str
    year: int | None


_names_decoder = msgspec.json.Decoder(CardNames)
_suggestion_decoder = msgspec.json.Decoder(SuggestedTitle)


def search_json(query: SearchInput, audience: Audience, snapshot: CatalogSnapshot) -> str:
    """Return a page of hits."""
    search = build_search(query, audience, snapshot)
    hits, cursor = search_page(search, query["limit"], query["cursor"])
    bodies = hit_bodies(hits, audience, snapshot, query["locale"])
    total = count_hits(search) if query["include_total"] else None
    fields = match_fields(search, hits, bodies)
    items = [
        merge_json_objects(body, _match_json(hit.match, field))
        for hit, body, field in zip(hits, bodies, fields, strict=True)
    ]
    if query["selected"]:
        items = [select_members(item, query["selected"]) for item in items]
    return json_page(items, cursor, total)


def suggestions_json(query: SuggestionsInput, audience: Audience, snapshot: CatalogSnapshot) -> str:
    """Return what completes a partially typed query: {items: [{id, kind, title, year, match}], next_cursor}."""
    whole: SearchInput = {**NO_TITLE_FILTERS, **query, "cursor": None, "include_total": False, "selected": None}
    search = build_search(whole, audience, snapshot)
    hits, _ = search_page(search, query["limit"], None)
    bodies = hit_bodies(hits, audience, snapshot, query["locale"])
    fields = match_fields(search, hits, bodies)
    items = [
        merge_json_objects(_suggestion_json(hit, body), _match_json(hit.match, field))
        for hit, body, field in zip(hits, bodies, fields, strict=True)
    ]
    return json_page(items, None)


def _suggestion_json(hit: SearchHit, body: str) -> str:
    if hit.kind == "channel":
        return encode_json(SuggestedTitle(hit.row.id, hit.kind, hit.row.record.name, None))
    return encode_json(_suggestion_decoder.decode(body))


@lru_cache
def _match_json(match: str, field: str) -> str:
    return encode_json({"match": match, "match_field": field})


def hit_bodies(
    hits: Sequence[SearchHit], audience: Audience, snapshot: CatalogSnapshot, locale: str | None
) -> list[str]:
    """Return each hit as JSON, in the language closest to `locale` or to the audience's."""
    if all(hit.row is None for hit in hits):
        return shown_cards(hits, audience, snapshot, locale)
    language = locale or audience.language
    titles = [
        (hit.pk, hit.body) if hit.row is None else (hit.row.title_pk, hit.row.body) for hit in hits if _has_card(hit)
    ]
    cards = iter(shown_cards(titles, audience, snapshot, locale))
    return [_hit_body(hit, next(cards) if _has_card(hit) else "", language, clock.now()) for hit in hits]


def _has_card(hit: SearchHit) -> bool:
    return hit.kind in ("title", "episode")


def _hit_body(hit: SearchHit, card: str, language: str | None, now: datetime) -> str:
    row = hit.row
    if hit.kind == "title":
        return card
    if hit.kind == "channel":
        return encode_json({"kind": hit.kind, **channel_reference(row.id, row.record)})
    if hit.kind == "programme":
        channel = row.channel
        view = programme_view(channel.id, channel.record, row.programme, language, now)
        return encode_json({"kind": hit.kind, **view, "channel": channel_reference(channel.id, channel.record)})
    members = {"id": row.id, "kind": hit.kind}
    if hit.kind == "episode":
        series = {"id": row.title_id, "title": _names_decoder.decode(card).title}
        return encode_json(members | {"title": row.title, "series": series, "season": row.season, "number": row.number})
    if hit.kind == "collection":
        return encode_json(members | {"code": row.code, "title": localized_title(row, language)})
    return encode_json(members | {"name": row.name})


def match_fields(search: Search, hits: Sequence[SearchHit], bodies: Sequence[str]) -> list[str]:
    """Return the field by which each hit was found; for most titles the names on its card tell."""
    words = distinctive_words(search.words)
    fields: list[str] = []
    unexplained: dict[int, int] = {}
    for index, (hit, body) in enumerate(zip(hits, bodies, strict=True)):
        if hit.kind != "title":
            fields.append(hit.kind)
            continue
        names = _names_decoder.decode(body)
        if is_in_name(words, names.title) or (body is not hit.body and is_in_name(words, _own_title(hit))):
            fields.append("title")
        elif is_in_name(words, names.original_title):
            fields.append("original_title")
        else:
            fields.append("")
            unexplained[hit.rank] = index
    if unexplained:
        tokens = load_tokens(list(unexplained))
        corrections = search.corrections if any(hit.match == "fuzzy" for hit in hits) else {}
        for rank, index in unexplained.items():
            fields[index] = match_field(words, _named(hits[index]), tokens.get(rank, " "), corrections)
    return fields


def _own_title(hit: SearchHit) -> str:
    return _names_decoder.decode(hit.body).title


def _named(hit: SearchHit) -> dict[str, str]:
    names = _names_decoder.decode(hit.body)
    return {"title": names.title} | ({"original_title": names.original_title} if names.original_title else {})


def load_tokens(ranks: list[int]) -> dict[int, str]:
    """Return titles' tokens by rank, each between spaces."""
    if db.engine.dialect.name == "sqlite":
        return {row.rank: f" {row.words} " for row in TOKENS_ON_SQLITE.all(ranks=encode_json(ranks))}
    rows = TOKENS_ON_POSTGRESQL.all(ranks=",".join(map(str, ranks)))
    return {row.rank: f" {row.words.replace(chr(39), '')} " for row in rows}


_ranks = sa.bindparam("ranks", type_=sa.Text())
TOKENS_ON_SQLITE = CompiledStatement(
    sa.select(SearchDoc.rank, SearchDoc.words).where(
        SearchDoc.rank.in_(sa.select(sa.func.json_each(_ranks).table_valued("value").c.value))
    )
)
TOKENS_ON_POSTGRESQL = CompiledStatement(
    sa.select(SearchDoc.rank, sa.cast(SearchDoc.words, sa.Text()).label("words")).where(
        SearchDoc.rank
        == sa.any_(sa.cast(sa.func.string_to_array(_ranks, ",", type_=ARRAY(sa.Text())), ARRAY(sa.BigInteger())))
    )
)
