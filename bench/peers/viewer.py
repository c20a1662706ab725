"""What the peers in Python compute of the rows that they read, by streamsvc's own rules, which do no I/O.

The mixins are for the models of both ORMs, whose columns have the same names.
"""

import hashlib
import os
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import msgspec
from itsdangerous import Signer
from itsdangerous.encoding import base64_encode

from streamsvc.rules.billing.entitlements import compute_entitlements
from streamsvc.rules.catalog.codes import language_fallbacks
from streamsvc.rules.maturity import effective_max_age
from streamsvc.rules.playback.access import AccessDecision, TitleFacts, ViewerFacts, Window, decide_access
from streamsvc.rules.sign_in.sessions import impersonation_view, session_expires_at
from streamsvc.rules.stores.account_ids import format_store_account_id

NO_AGE_LIMIT = 10_000
DEFAULT_LIMIT, MAX_LIMIT = 24, 100
SORTS = ("-added", "-popularity", "title")
"""The sort orders of the hot path `list`."""
DATABASE = os.environ.get("STREAMSVC_DATABASE_URL", "").removeprefix("sqlite:///")
PRAGMAS = ("mmap_size=268435456", "busy_timeout=5000")
"""What streamsvc sets for a connection; the file itself is in WAL mode."""
PAYMENT_PROVIDER = "sandbox"


def hash_bearer_token(authorization: str | None) -> str:
    """Return the hash by which a session is found, of the header of a request."""
    scheme, _, token = (authorization or "").partition(" ")
    return hashlib.sha256(token.encode()).hexdigest() if scheme == "Bearer" else ""


def encode_cursor(sort: str, genre: str, position: list) -> str:
    """Return the signed position after the last row of a page."""
    signer = Signer(os.environ["BENCH_CURSOR_KEY"], salt=f"cursor:titles:{sort}:{ {'genre': genre} }")
    return signer.sign(base64_encode(msgspec.json.encode(position))).decode()


class SessionRules:
    current = True

    @property
    def expires_at(self) -> datetime:
        return session_expires_at(self.lifetime, self.created_at, self.last_seen_at)


class AccountRules:
    @property
    def email_verified(self) -> bool:
        return self.email_verified_at is not None

    @property
    def store_account_id(self) -> str:
        return format_store_account_id(self.id)


class ProfileRules:
    @property
    def has_pin(self) -> bool:
        return self.pin_hash is not None


class SubscriptionRules:
    @property
    def period(self) -> dict[str, Any]:
        return {"start": self.period_start, "end": self.period_end}


class Viewer:
    """An authenticated viewer, from the rows of an ORM: the members of `GET /v1/sessions/current`, and what decides.

    Raises NotImplementedError for what no viewer of a SeededService has: restrictions, add-ons, app stores.
    """

    guest = False

    def __init__(self, session: Any, profiles: list[Any], subscription: Any | None, now: datetime) -> None:
        self.session, self.profiles, self.subscription, self.now = session, profiles, subscription, now
        plan = subscription and subscription.plan
        if self.account.store_access or (plan and (plan.includes or subscription.addon_grants)):
            raise NotImplementedError("add-ons and app stores")
        if any(profile.restrictions for profile in profiles):
            raise NotImplementedError("restrictions")

    @property
    def account(self) -> Any:
        return self.session.account

    @cached_property
    def profile(self) -> Any | None:
        return next((each for each in self.profiles if each.id == self.session.profile_id), None)

    @cached_property
    def entitlements(self) -> dict[str, Any]:
        own = self.subscription
        if own is None:
            return compute_entitlements(None, None, None, None, self.now)
        return compute_entitlements(own.status, own.access_until, own.plan.code, own.plan.features, self.now)

    @property
    def sources(self) -> list[dict[str, Any]]:
        own = self.subscription
        source = own and {
            "subscription_id": own.id,
            "source": own.source or PAYMENT_PROVIDER,
            "status": own.status,
            "plan": own.plan.code,
            "until": own.access_until,
            "renews": own.cancel_at is None,
            "management_url": None,
        }
        return [source] if source else []

    @property
    def impersonation(self) -> dict[str, Any] | None:
        return impersonation_view(self.session.impersonated_by, self.session.impersonation_reason)

    @property
    def is_live(self) -> bool:
        return self.session.expires_at > self.now

    @cached_property
    def facts(self) -> ViewerFacts:
        limits = [(each.max_age, each.kids) for each in ([self.profile] if self.profile else self.profiles)]
        return viewer_facts(self.account.country, self.entitlements, limits, self.profile is not None)

    @property
    def max_age(self) -> int:
        return NO_AGE_LIMIT if self.facts.max_age is None else self.facts.max_age

    @property
    def locales(self) -> list[str]:
        """The locales of the cards that the viewer may get, best first."""
        return card_locales(self.profile.language if self.profile else self.account.locale)


def viewer_facts(
    country: str, entitlements: dict[str, Any], limits: Iterable[tuple[int | None, bool]], has_profile: bool
) -> ViewerFacts:
    """Return what decides about titles. `limits`: (maximum age, whether for kids) by profile."""
    ages = [age for age in (effective_max_age(*limit) for limit in limits) if age is not None]
    plans = tuple(sorted(entitlements["plans"]))
    return ViewerFacts(min(ages, default=None), country, entitlements["active"], plans, has_profile)


def card_locales(language: str | None) -> list[str]:
    """Return the locales of a title's card to try, best first; the last is the title's own."""
    return [*language_fallbacks(language), ""]


def decide_title(
    viewer: ViewerFacts,
    now: datetime,
    min_age: int | None,
    windows: Iterable[tuple[int, str, datetime | None, datetime | None]] | None,
    plans: Iterable[str] | None,
    min_ages: Iterable[tuple[str, int | None]],
) -> AccessDecision:
    """Return whether a title is shown and may be played.

    `windows`: (position, country, start, end) of each row; `min_ages`: by country. None: the title has no such limit.
    """
    opened = None
    if windows is not None:
        by_position: dict[int, list] = {}
        for position, *window in windows:
            by_position.setdefault(position, []).append(window)
        opened = tuple(
            Window(None if rows[0][0] == "*" else frozenset(row[0] for row in rows), *rows[0][1:])
            for rows in by_position.values()
        )
    held = None if plans is None else frozenset(plans)
    return decide_access(TitleFacts(min_age, opened, held, min_ages=dict(min_ages)), viewer, now)


def title_document(title: Any, viewer: Viewer, load_related: Callable[[Any], Iterable] = list) -> dict | None:
    """Return the members of a title, a row of an ORM; None if it is hidden. Parts are read only if it has some."""
    ratings = list(load_related(title.age_ratings)) if title.rated_per_country else []
    plans = [each.plan_code for each in load_related(title.plans)] if title.plan_limited else None
    windows = None
    if title.windowed:
        windows = [(each.position, each.country, each.starts_at, each.ends_at) for each in load_related(title.windows)]
    decision = decide_title(
        viewer.facts,
        viewer.now,
        title.min_age,
        windows,
        plans,
        [(each.country, each.min_age) for each in ratings],
    )
    if decision.hidden:
        return None
    if title.has_extras:
        raise NotImplementedError("extras")
    here = [each for each in ratings if each.country == viewer.account.country]
    card = card_document(load_related(title.cards), here, viewer.locales)
    return card | title.detail.body | {"availability": decision}


def card_document(cards: Iterable[Any], ratings_here: Iterable[Any], locales: list[str]) -> dict[str, Any]:
    """Return the best of a title's cards, with the rating of the viewer's country if the title has one."""
    bodies = {card.locale: card.body for card in cards}
    body = next(bodies[locale] for locale in locales if locale in bodies)
    for rating in ratings_here:
        body = body | {"age_rating": {"system": rating.country, "label": rating.label, "min_age": rating.min_age}}
    return body


def page_document(links: list[Any], limit: int, sort: str, genre: str, cards: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a page of a list, of which one row more than `limit` was read. `links`: rows of `title_facets`."""
    cursor = encode_cursor(sort, genre, list_position(sort, links[limit - 1])) if len(links) > limit else None
    return {"items": cards[:limit], "next_cursor": cursor}


def list_position(sort: str, link: Any) -> list:
    """Return the sort values of a row of a list."""
    if sort == "-popularity":
        return [link.rank]
    return [link.sort_title, link.title_pk] if sort == "title" else [link.title_pk]


def current_time() -> datetime:
    return datetime.now(UTC)


def format_utc(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat().replace("+00:00", "Z")
