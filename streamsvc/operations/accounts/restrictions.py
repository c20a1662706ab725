"""Replaces the restrictions of a profile."""

import sqlalchemy as sa

from streamsvc.models import Channel, Facet, Profile, Title
from streamsvc.operations.outbox import audit
from streamsvc.rules.playback.inputs import RestrictionsInput, TitleSetInput
from streamsvc.rules.playback.restrictions import NO_RESTRICTIONS
from streamsvc.rules.refusals.requests import Invalid
from streamsvc.storage.database import db


def replace_restrictions(profile: Profile, body: RestrictionsInput) -> None:
    """Replace a profile's restrictions, in the caller's transaction. Raises Invalid for an unknown title or genre.

    A misspelt genre would block nothing, and nobody would notice.
    """
    stored: dict = profile.restrictions or NO_RESTRICTIONS
    _check_titles("blocked", body["blocked"], stored["blocked"])
    _check_titles("allowed_only", body["allowed_only"], stored["allowed_only"])
    profile.restrictions = None if body == NO_RESTRICTIONS else dict(body)
    audit.record_event("profile_restricted", profile.account_id, profile=profile.id, restrictions=profile.restrictions)


def _check_titles(name: str, titles: TitleSetInput | None, stored: TitleSetInput | None) -> None:
    """Raise Invalid if there is no such title or genre, unless it is stored already."""
    if titles is None:
        return
    stored = stored or {"titles": [], "genres": []}
    ids = titles["titles"]
    known_titles = set(db.session.scalars(sa.select(Title.id).where(Title.id.in_(ids))))
    known_titles |= set(db.session.scalars(sa.select(Channel.id).where(Channel.id.in_(ids))))
    is_genre = (Facet.kind == "genre", Facet.code.in_(titles["genres"]))
    known_genres = set(db.session.scalars(sa.select(Facet.code).where(*is_genre)))
    if unknown := set(titles["titles"]) - known_titles - set(stored["titles"]):
        raise Invalid(errors={f"{name}.titles": [f"There is no title {min(unknown)!r}."]})
    if unknown := set(titles["genres"]) - known_genres - set(stored["genres"]):
        raise Invalid(errors={f"{name}.genres": [f"There is no genre {min(unknown)!r}."]})
