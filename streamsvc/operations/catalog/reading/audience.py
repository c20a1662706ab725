"""The audience of a catalogue read: the facts that decide which titles are visible and under which ETag."""

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

from streamsvc import clock
from streamsvc.models.catalog.visibility import NO_AGE_LIMIT, Visibility, encode_codes
from streamsvc.rules.catalog.codes import COUNTRIES
from streamsvc.rules.geography import Origin
from streamsvc.rules.maturity import effective_max_age
from streamsvc.rules.playback.access import ViewerFacts
from streamsvc.rules.playback.restrictions import (
    TitleRules,
    TitleSet,
    closed_until,
    parse_title_rules,
    strictest_title_rules,
)
from streamsvc.security.viewers import Viewer


@dataclass(frozen=True)
class Audience:
    """Viewers with equal facts and language get the same lists, byte for byte."""

    facts: ViewerFacts
    language: str | None = None
    sees_all: bool = False
    """True for operators: windows, plans and maturity hide nothing."""

    @cached_property
    def etag_part(self) -> str:
        """All of it as text, for ETags."""
        return repr(self)

    @property
    def visibility(self) -> Visibility:
        """Which of the statements made for each visibility reads for this audience."""
        if self.sees_all:
            return "all"
        return "public" if self.facts.is_visitor else "restricted" if self.facts.title_rules else "listed"

    def sql_parameters(self) -> dict:
        """Return the parameters of the conditions in models/catalog/visibility.py; an operator's is the country."""
        facts = self.facts
        if self.sees_all:
            return {"country": facts.country or ""}
        parameters = {
            "max_age": NO_AGE_LIMIT if facts.max_age is None else facts.max_age,
            "country": facts.country or "",
            "plans": encode_codes(facts.plans) if facts.subscribed else None,
            "now": clock.now(),
        }
        return parameters | _title_rules_parameters(facts.title_rules) if facts.title_rules else parameters


def _title_rules_parameters(rules: TitleRules) -> dict[str, str | None]:
    allowed = rules.allowed_only
    return {
        "blocked_titles": encode_codes(rules.blocked.titles),
        "blocked_labels": _encode_labels(rules.blocked),
        "allowed_titles": None if allowed is None else encode_codes(allowed.titles),
        "allowed_labels": None if allowed is None else _encode_labels(allowed),
    }


def _encode_labels(titles: TitleSet) -> str:
    return encode_codes([*(f"genre:{code}" for code in titles.genres), *(f"tag:{code}" for code in titles.tags)])


def operator_audience(country: str | None) -> Audience:
    """Return the audience of an operator, who sees every title; availability is computed for `country`."""
    return Audience(ViewerFacts(country=country, any_plan=True), sees_all=True)


def visitor_audience(country: str | None, max_age: int | None) -> Audience:
    """Return the audience of a visitor without a token; `country` None: unknown. `max_age` None: no limit but adult."""
    return Audience(ViewerFacts(country=country, max_age=max_age, is_visitor=True))


def viewer_audience(viewer: Viewer, origin: Origin) -> Audience:
    """Return the audience of a viewer, in the profile's language if a profile is selected, else the account's."""
    language = viewer.profile.language if viewer.profile else viewer.row.locale
    return _audience_of_facts(language, **_read_facts(viewer, origin))


@lru_cache(maxsize=1024)
def _audience_of_facts(language: str | None, **facts: Any) -> Audience:
    """Return the audience with these facts: the same object for equal ones, which many viewers have."""
    return Audience(ViewerFacts(**facts), language)


def viewer_facts(viewer: Viewer, origin: Origin) -> ViewerFacts:
    """Return the facts that decide what a viewer may see and play.

    While no profile is selected, the strictest limits of the account's profiles apply.
    """
    return ViewerFacts(**_read_facts(viewer, origin))


def _read_facts(viewer: Viewer, origin: Origin) -> dict[str, Any]:
    """Return the members of a viewer's ViewerFacts, from the rows that this request has read."""
    entitlements, profile = viewer.entitlements, viewer.profile
    limits = _profile_limits(profile) if profile else _strictest_limits(viewer.profiles)
    return {
        "country": viewer_country(viewer, origin.country),
        "network_refused": origin.is_refused,
        "subscribed": entitlements["active"],
        "plans": tuple(sorted(entitlements["plans"])),
        "has_profile": profile is not None,
        **limits,
    }


def _strictest_limits(profiles: list) -> dict[str, Any]:
    """Return the limits of all profiles of an account together."""
    ages = [effective_max_age(profile.max_age, profile.kids) for profile in profiles]
    return {
        "max_age": min((age for age in ages if age is not None), default=None),
        "title_rules": strictest_title_rules(parse_title_rules(profile.restrictions) for profile in profiles),
    }


def _profile_limits(profile: Any) -> dict[str, Any]:
    """Return the limits of a profile, a row of `Viewer.profiles`."""
    restrictions = profile.restrictions
    hours = restrictions and restrictions["viewing_hours"]
    return {
        "max_age": effective_max_age(profile.max_age, profile.kids),
        "title_rules": parse_title_rules(restrictions),
        "closed_until": closed_until(hours, profile.time_zone, clock.now()) if hours else None,
    }


def stream_viewer_facts(viewer: Viewer, origin: Origin, profile_id: str | None) -> ViewerFacts:
    """Return a viewer's facts as those of the profile that started a stream, which may no longer exist."""
    facts = viewer_facts(viewer, origin)
    profile = next((profile for profile in viewer.profiles if profile.profile_id == profile_id), None)
    return profile_facts(facts, profile) if profile else replace(facts, has_profile=False)


def profile_facts(facts: ViewerFacts, profile: Any) -> ViewerFacts:
    """Return an account's facts as those of one of its profiles, a row of `Viewer.profiles`."""
    return replace(facts, has_profile=True, **_profile_limits(profile))


def viewer_country(viewer: Viewer, reported_country: str | None) -> str | None:
    """Return the country that the trusted proxy reports; the account's if none is configured to report one.

    None for an unknown country. `reported_country` is that of http/trusted_proxies.py:client_country.
    """
    country = viewer.row.country if reported_country is None else reported_country
    return country if country in COUNTRIES else None
