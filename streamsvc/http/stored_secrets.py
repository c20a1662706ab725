"""Keeps secrets out of stored JSON responses, and puts them back into the very members that they were taken from.

A stored response contains a placeholder in each such member. The placeholder is for people who read the database. The
positions of these members are stored as well, so that a text that looks like a placeholder is not taken for a secret.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypedDict

import msgspec


class SecretMember(TypedDict):
    """A string in a response with secrets in it: `parts`, with the secrets of `placeholders` between them."""

    path: list[str | int]
    parts: list[str]
    placeholders: list[str]


def extract_secrets(body: str, secrets: Mapping[str, str]) -> tuple[str, list[SecretMember]]:
    """Replace the secrets in a JSON document; returns it with the members to restore.

    `secrets`: {placeholder: secret}. Raises ValueError if a secret is anywhere but in a string value.
    """
    if not secrets:
        return body, []
    document = msgspec.json.decode(body)
    placeholders = {secret: placeholder for placeholder, secret in secrets.items()}
    any_secret = re.compile("(" + "|".join(map(re.escape, placeholders)) + ")")
    members: list[SecretMember] = []
    for path, text in list(_strings(document)):
        pieces = any_secret.split(text)
        if len(pieces) > 1:
            found = [placeholders[secret] for secret in pieces[1::2]]
            members.append({"path": path, "parts": pieces[::2], "placeholders": found})
            _set_member(document, path, any_secret.sub(lambda match: placeholders[match[0]], text))
    stored = msgspec.json.encode(document).decode()
    if any_secret.search(stored):
        raise ValueError("a secret in the response is not in a string value")
    return stored, members


def restore_secrets(body: str, members: list[SecretMember], derive: Callable[[str], str]) -> str:
    """Put the secrets back. `derive`: placeholder -> its secret."""
    if not members:
        return body
    document = msgspec.json.decode(body)
    for member in members:
        first, *others = member["parts"]
        text = first + "".join(derive(p) + part for p, part in zip(member["placeholders"], others, strict=True))
        _set_member(document, member["path"], text)
    return msgspec.json.encode(document).decode()


def _strings(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[list[str | int], str]]:
    if isinstance(value, str):
        yield list(path), value
    elif isinstance(value, dict | list):
        for name, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _strings(inner, (*path, name))


def _set_member(document: Any, path: list[str | int], text: str) -> None:
    for name in path[:-1]:
        document = document[name]
    document[path[-1]] = text
