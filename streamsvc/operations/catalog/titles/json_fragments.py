"""JSON put together from ready pieces, without reading them."""

import msgspec


def encode_json(value) -> str:
    return msgspec.json.encode(value).decode()


def merge_json_objects(*objects: str) -> str:
    """One object from the members of several: `{"a":1}` and `{"b":2}` become `{"a":1,"b":2}`."""
    return "{" + ",".join(inner for inner in (body[1:-1] for body in objects) if inner) + "}"


def json_member(name: str, value_json: str) -> str:
    """`{"name": …}` around JSON that is ready."""
    return f'{{"{name}":{value_json}}}'


def json_list(items: list[str]) -> str:
    return "[" + ",".join(items) + "]"


def json_page(items: list[str], next_cursor: str | None, total: int | None = None) -> str:
    """A page of ready items; `total` where it was asked for."""
    rest = {"next_cursor": next_cursor} if total is None else {"next_cursor": next_cursor, "total": total}
    return merge_json_objects(json_member("items", json_list(items)), encode_json(rest))
