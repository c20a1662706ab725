"""The profile that a request names, which must be one of the viewer's and not locked."""

import sqlalchemy as sa

from streamsvc.operations.catalog.reading.audience import Audience, profile_facts, viewer_facts
from streamsvc.rules.geography import Origin
from streamsvc.rules.refusals.accounts import PinRequired
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.security.viewers import Viewer


def get_own_profile(viewer: Viewer, profile_id: str) -> sa.Row:
    """Return the row of one of the viewer's profiles.

    Raises NotFound, or PinRequired if it has a PIN and is not selected.
    """
    profile = next((row for row in viewer.profiles if row.profile_id == profile_id), None)
    if profile is None:
        raise NotFound
    if profile.has_pin and profile.profile_id != viewer.row.selected_profile_id:
        raise PinRequired
    return profile


def profile_audience(viewer: Viewer, profile: sa.Row, origin: Origin) -> Audience:
    """Return the audience of a profile's rows: the profile's limits and the viewer's country and plan."""
    facts = profile_facts(viewer_facts(viewer, origin), profile)
    return Audience(facts, profile.language or profile.locale)
