"""The audience of a catalogue read: the facts that decide which titles are visible and under which ETag."""

from dataclasses import dataclass

from streamsvc import clock
from streamsvc.models.catalog.visibility import NO_AGE_LIMIT, encode_plans
from streamsvc.rules.catalog.codes import COUNTRIES
from streamsvc.rules.playback.access import ViewerFacts
from streamsvc.security.authentication import Viewer


@dataclass(frozen=True)
class Audience:
    """Viewers with equal facts and language get the same lists, byte for byte."""

    facts: ViewerFacts
    language: str | None = None
    sees_all: bool = False
    """True for operators: windows, plans and maturity hide nothing."""

    def sql_parameters(self) -> dict:
        """Return the parameters of the conditions in models/catalog/visibility.py; empty for an operator."""
        if self.sees_all:
            return {}
        facts = self.facts
        return {
            "max_age": NO_AGE_LIMIT if facts.max_age is None else facts.max_age,
            "country": facts.country or "",
            "plans": encode_plans(facts.plans) if facts.subscribed else None,
            "now": clock.now(),
        }


def operator_audience(country: str | None) -> Audience:
    """Return the audience of an operator, who sees every title; availability is computed for `country`."""
    return Audience(ViewerFacts(country=country, any_plan=True), sees_all=True)


def viewer_audience(viewer: Viewer, reported_country: str | None) -> Audience:
    """Return the audience of a viewer, in the profile's language if a profile is selected, else the account's."""
    language = viewer.profile.language if viewer.profile else viewer.row.locale
    return Audience(viewer_facts(viewer, reported_country), language)


def viewer_facts(viewer: Viewer, reported_country: str | None) -> ViewerFacts:
    """Return the facts that decide what a viewer may see and play; see `viewer_country` for `reported_country`.

    While no profile is selected, the strictest age limit among the account's profiles applies.
    """
    entitlements = viewer.entitlements
    profiles = [viewer.profile] if viewer.profile else viewer.profiles
    limits = [profile.max_age for profile in profiles if profile.max_age is not None]
    return ViewerFacts(
        max_age=min(limits, default=None),
        country=viewer_country(viewer, reported_country),
        subscribed=entitlements["active"],
        plans=tuple(sorted(entitlements["plans"])),
        has_profile=viewer.profile is not None,
    )


def viewer_country(viewer: Viewer, reported_country: str | None) -> str | None:
    """Return the country that the trusted proxy reports; the account's if none is configured to report one.

    None for an unknown country. `reported_country` is that of http/trusted_proxies.py:client_country.
    """
    country = viewer.row.country if reported_country is None else reported_country
    return country if country in COUNTRIES else None
