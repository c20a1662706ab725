"""The rights that an episode or an extra has of its own, and what they make of its title's.

Windows and plans replace the title's, while an age limit can only be stricter: a child who may not see a series sees
none of its episodes. Stored as JSON; None means as the title, and an empty list nowhere, or no plan.
"""

from dataclasses import replace
from datetime import date

from msgspec import Struct

from streamsvc.rules.playback.access import TitleFacts, Window

PROMOTIONAL_KINDS = ("trailer", "teaser", "clip")
"""Extras that advertise a title."""


class PartRights(Struct, frozen=True, omit_defaults=True):
    """What a part of a title has of its own. `age_gate`: of its own age rating."""

    age_gate: int | None = None
    windows: tuple[Window, ...] | None = None
    plans: frozenset[str] | None = None


NO_RIGHTS = PartRights()


def part_facts(title: TitleFacts, rights: PartRights, released_on: date | None = None) -> TitleFacts:
    """Return the facts of an episode or an extra, given its title's. `released_on`: the day, in UTC, of an episode."""
    return replace(
        title,
        own_age_gate=rights.age_gate or 0,
        windows=title.windows if rights.windows is None else rights.windows,
        plans=title.plans if rights.plans is None else rights.plans,
        released_on=released_on,
    )


def extra_facts(title: TitleFacts, rights: PartRights, is_open: bool, shares_media: bool) -> TitleFacts:
    """Return the facts of an extra, given its title's. `is_open`: by `is_open_extra`.

    An open one needs no subscription and may be played before its title, in the countries of the title's windows and
    until they end; one with windows of its own, in these.
    """
    facts = replace(part_facts(title, rights), shares_media=shares_media)
    if not is_open:
        return facts
    if rights.windows is None and title.windows is not None:
        facts = replace(facts, windows=tuple(replace(window, starts_at=None) for window in title.windows))
    return replace(facts, plans=None, is_free=True)


def is_open_extra(kind: str, policy: str) -> bool:
    """Whether an extra of this kind needs no subscription, by STREAMSVC_EXTRAS."""
    return policy == "open" or (policy == "open_trailers" and kind in PROMOTIONAL_KINDS)
