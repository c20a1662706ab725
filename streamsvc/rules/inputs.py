"""Query parameters of lists, as loaded by their schemas. A test compares each input with the schema that loads it."""

from typing import TypedDict


class PageInput(TypedDict):
    """Which page of a list to return."""

    limit: int
    cursor: str | None
    include_total: bool


class ShortListInput(TypedDict):
    """Which page of a short list to return; without a limit, the whole list."""

    limit: int | None
    cursor: str | None
    include_total: bool


class EmailsInput(PageInput):
    """The recipient whose emails to list; None lists all."""

    to: str | None
