"""The profile that a request names: the viewer's own, and open."""

from dataclasses import replace

import sqlalchemy as sa

from streamsvc.operations.catalog.reading.audience import Audience, current_viewer_facts
from streamsvc.rules.refusals.accounts import PinRequired
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.security.authentication import Viewer


def get_own_profile(viewer: Viewer, profile_id: str) -> sa.Row:
    """The row of the viewer's profile. Raises NotFound, or PinRequired for a locked one that is not watching."""
    profile = next((p for p in viewer.profiles if p.profile_id == profile_id), None)
    if profile is None:
        raise NotFound
    if profile.has_pin and profile.profile_id != viewer.row.selected_profile_id:
        raise PinRequired
    return profile


def profile_audience(profile: sa.Row) -> Audience:
    """For whom the profile's rows are made: its own limit of age, the viewer's country and plan."""
    facts = replace(current_viewer_facts(), max_age=profile.max_age, has_profile=True)
    return Audience(facts, profile.language or profile.locale)
