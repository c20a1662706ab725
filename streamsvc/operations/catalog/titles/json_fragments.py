"""Assembles JSON text from fragments without parsing them."""

from collections.abc import Collection
from typing import Any

import msgspec

_members_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])


def encode_json(value: Any) -> str:
    """Return a value as JSON text."""
    return msgspec.json.encode(value).decode()


def merge_json_objects(*objects: str) -> str:
    """Return one object with the members of several: `{"a":1}` and `{"b":2}` become `{"a":1,"b":2}`."""
    return "{" + ",".join(inner for inner in (body[1:-1] for body in objects) if inner) + "}"


def json_member(name: str, value_json: str) -> str:
    """Return an object with one member, whose value is JSON text."""
    return f'{{"{name}":{value_json}}}'


def select_members(body: str, names: Collection[str]) -> str:
    """Return an object with only these of its members, and `id`."""
    members = _members_decoder.decode(body)
    return encode_json({name: value for name, value in members.items() if name == "id" or name in names})


def json_list(items: list[str]) -> str:
    """Return a list of items that are JSON text."""
    return "[" + ",".join(items) + "]"


def json_page(items: list[str], next_cursor: str | None, total: dict[str, Any] | None = None) -> str:
    """Return a page of items that are JSON text; `total`: the members of its total, None without one."""
    members = {"next_cursor": next_cursor} | (total or {})
    return merge_json_objects(json_member("items", json_list(items)), encode_json(members))
