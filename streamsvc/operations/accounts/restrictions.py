"""Replaces the restrictions of a profile."""

import sqlalchemy as sa

from streamsvc.models import Channel, Facet, Profile, Title
from streamsvc.operations.outbox import audit
from streamsvc.rules.playback.inputs import RestrictionsInput, TitleSetInput
from streamsvc.rules.playback.restrictions import NO_RESTRICTIONS, complete_restrictions
from streamsvc.rules.refusals.requests import Invalid
from streamsvc.storage.database import db


def replace_restrictions(profile: Profile, body: RestrictionsInput) -> None:
    """Replace a profile's restrictions, in the caller's transaction. Raises Invalid for an unknown title, genre or tag.

    A misspelt genre would block nothing, and nobody would notice.
    """
    stored = complete_restrictions(profile.restrictions)
    _check_titles("blocked", body["blocked"], stored["blocked"])
    _check_titles("allowed_only", body["allowed_only"], stored["allowed_only"])
    profile.restrictions = None if body == NO_RESTRICTIONS else dict(body)
    audit.record_event("profile_restricted", profile.account_id, profile=profile.id, restrictions=profile.restrictions)


def _check_titles(name: str, titles: TitleSetInput | None, stored: TitleSetInput | None) -> None:
    """Raise Invalid if there is no such title, genre or tag, unless it is stored already."""
    if titles is None:
        return
    stored = stored or {"titles": [], "genres": [], "tags": []}
    ids = titles["titles"]
    known_titles = set(db.session.scalars(sa.select(Title.id).where(Title.id.in_(ids))))
    known_titles |= set(db.session.scalars(sa.select(Channel.id).where(Channel.id.in_(ids))))
    if unknown := set(titles["titles"]) - known_titles - set(stored["titles"]):
        raise Invalid(errors={f"{name}.titles": [f"There is no title {min(unknown)!r}."]})
    _check_labels(f"{name}.genres", "genre", titles["genres"], stored["genres"])
    _check_labels(f"{name}.tags", "tag", titles["tags"], stored["tags"])


def _check_labels(field: str, kind: str, codes: list[str], stored: list[str]) -> None:
    is_label = (Facet.kind == kind, Facet.code.in_(codes))
    known = set(db.session.scalars(sa.select(Facet.code).where(*is_label)))
    if unknown := set(codes) - known - set(stored):
        raise Invalid(errors={field: [f"There is no {kind} {min(unknown)!r}."]})
