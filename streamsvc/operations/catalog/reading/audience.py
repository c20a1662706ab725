"""For whom the catalogue is read: the facts that decide what is shown, and under which ETag."""

from dataclasses import dataclass

from flask import current_app

from streamsvc import clock
from streamsvc.http import trusted_proxies
from streamsvc.models.catalog.visibility import NO_AGE_LIMIT
from streamsvc.rules.catalog.codes import COUNTRIES
from streamsvc.rules.playback.access import ViewerFacts
from streamsvc.security.authentication import current_operator, current_viewer


@dataclass(frozen=True)
class Audience:
    """Everybody with the same facts and language gets the same lists, byte for byte."""

    facts: ViewerFacts
    language: str | None = None
    sees_all: bool = False
    """An operator: windows, plans and maturity hide nothing."""

    def sql_parameters(self) -> dict:
        """What the conditions of models/catalog/visibility.py ask for; nothing for an operator."""
        if self.sees_all:
            return {}
        facts = self.facts
        return {
            "max_age": NO_AGE_LIMIT if facts.max_age is None else facts.max_age,
            "country": facts.country or "",
            "plan": facts.plan if facts.subscribed else None,
            "now": clock.now(),
        }


def current_audience(country: str | None = None) -> Audience:
    """Who asks. An operator sees all; `country` is where it asks for."""
    if current_operator():
        return Audience(ViewerFacts(country=country, any_plan=True), sees_all=True)
    return Audience(
        current_viewer_facts(),
        current_viewer().profile.language if current_viewer().profile else current_viewer().row.locale,
    )


def current_viewer_facts() -> ViewerFacts:
    """What decides about access for the signed-in viewer.

    Where no profile is chosen yet, the strictest limit of the account's profiles counts.
    """
    who = current_viewer()
    paid = who.entitlements
    profiles = [who.profile] if who.profile else who.profiles
    limits = [profile.max_age for profile in profiles if profile.max_age is not None]
    return ViewerFacts(
        max_age=min(limits, default=None),
        country=viewer_country(who),
        subscribed=paid["active"],
        plan=paid["plan"],
        has_profile=who.profile is not None,
    )


def viewer_country(viewer) -> str | None:
    """Where the viewer is: what the trusted proxy says, where there is one, else the account's country."""
    header = current_app.extensions["settings"].country_header
    told = trusted_proxies.read_proxy_header(header).upper() if header else viewer.row.country
    return told if told in COUNTRIES else None
