"""The models and queries of the peers on SQLAlchemy's ORM."""

from datetime import UTC, date, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event, orm
from sqlalchemy.orm import Mapped, joinedload, mapped_column, relationship, selectinload

from bench.peers.viewer import (
    PRAGMAS,
    AccountRules,
    ProfileRules,
    SessionRules,
    SubscriptionRules,
    Viewer,
    card_document,
    current_time,
    hash_bearer_token,
    page_document,
    title_document,
)
from streamsvc.rules.billing.access import LIVE_STATUSES


class UtcDateTime(sa.TypeDecorator):
    """An aware time in UTC, which SQLite stores without its offset."""

    impl, cache_ok = sa.DateTime, True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        return value and value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        return value and value.replace(tzinfo=UTC)


class Base(orm.DeclarativeBase):
    type_annotation_map = {datetime: UtcDateTime, dict[str, Any]: sa.JSON, list[Any]: sa.JSON}


class Account(AccountRules, Base):
    __tablename__ = "accounts"

    id: Mapped[str] = mapped_column(primary_key=True)
    email: Mapped[str]
    email_verified_at: Mapped[datetime | None]
    name: Mapped[str | None]
    country: Mapped[str]
    time_zone: Mapped[str]
    locale: Mapped[str]
    status: Mapped[str]
    store_access: Mapped[list[Any] | None]
    created_at: Mapped[datetime]

    profiles: Mapped[list["Profile"]] = relationship(order_by="Profile.id")
    subscriptions: Mapped[list["Subscription"]] = relationship()


class Device(Base):
    __tablename__ = "devices"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    kind: Mapped[str]


class ServiceEpoch(Base):
    __tablename__ = "service_epoch"

    id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int]


class Session(SessionRules, Base):
    __tablename__ = "sessions"

    id: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[str] = mapped_column(sa.ForeignKey("accounts.id"))
    device_id: Mapped[str] = mapped_column(sa.ForeignKey("devices.id"))
    profile_id: Mapped[str | None]
    token_hash: Mapped[str]
    lifetime: Mapped[str]
    service_epoch: Mapped[int]
    dpop_jkt: Mapped[str | None]
    created_at: Mapped[datetime]
    authenticated_at: Mapped[datetime]
    last_seen_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    impersonated_by: Mapped[str | None]
    impersonation_reason: Mapped[str | None]

    account: Mapped[Account] = relationship()
    device: Mapped[Device] = relationship()


class Profile(ProfileRules, Base):
    __tablename__ = "profiles"

    id: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[str] = mapped_column(sa.ForeignKey("accounts.id"))
    name: Mapped[str]
    avatar: Mapped[str | None]
    language: Mapped[str | None]
    kids: Mapped[bool]
    max_age: Mapped[int | None]
    autoplay: Mapped[bool]
    pin_hash: Mapped[str | None]
    restrictions: Mapped[dict[str, Any] | None]
    deleted_at: Mapped[datetime | None]


class Plan(Base):
    __tablename__ = "plans"

    id: Mapped[str] = mapped_column(primary_key=True)
    code: Mapped[str]
    features: Mapped[dict[str, Any]]
    includes: Mapped[list[Any]]


class Subscription(SubscriptionRules, Base):
    __tablename__ = "subscriptions"

    id: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[str] = mapped_column(sa.ForeignKey("accounts.id"))
    plan_id: Mapped[str] = mapped_column(sa.ForeignKey("plans.id"))
    price_id: Mapped[str]
    status: Mapped[str]
    source: Mapped[str | None]
    access_until: Mapped[datetime | None]
    period_start: Mapped[date | None]
    period_end: Mapped[date | None]
    trial_end: Mapped[date | None]
    cancel_at: Mapped[date | None]
    paused_at: Mapped[datetime | None]
    resumes_at: Mapped[datetime | None]
    addon_grants: Mapped[list[Any] | None]

    plan: Mapped[Plan] = relationship()


class Facet(Base):
    __tablename__ = "facets"

    pk: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    code: Mapped[str]


class Title(Base):
    __tablename__ = "titles"

    pk: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str]
    min_age: Mapped[int | None]
    age_gate: Mapped[int]
    rated_per_country: Mapped[bool]
    windowed: Mapped[bool]
    plan_limited: Mapped[bool]
    removed_at: Mapped[datetime | None]

    cards: Mapped[list["TitleCard"]] = relationship()
    detail: Mapped["TitleDetail"] = relationship()
    windows: Mapped[list["TitleWindow"]] = relationship()
    plans: Mapped[list["TitlePlan"]] = relationship()
    age_ratings: Mapped[list["TitleAgeRating"]] = relationship()


class TitleFacet(Base):
    __tablename__ = "title_facets"

    facet_pk: Mapped[int] = mapped_column(sa.ForeignKey("facets.pk"), primary_key=True)
    title_pk: Mapped[int] = mapped_column(sa.ForeignKey("titles.pk"), primary_key=True)
    sort_title: Mapped[str]
    rank: Mapped[int]

    title: Mapped[Title] = relationship()


class TitleCard(Base):
    __tablename__ = "title_cards"

    title_pk: Mapped[int] = mapped_column(sa.ForeignKey("titles.pk"), primary_key=True)
    locale: Mapped[str] = mapped_column(primary_key=True)
    body: Mapped[dict[str, Any]]


class TitleDetail(Base):
    __tablename__ = "title_details"

    title_pk: Mapped[int] = mapped_column(sa.ForeignKey("titles.pk"), primary_key=True)
    body: Mapped[dict[str, Any]]


class TitleWindow(Base):
    __tablename__ = "title_windows"

    title_pk: Mapped[int] = mapped_column(sa.ForeignKey("titles.pk"), primary_key=True)
    country: Mapped[str] = mapped_column(primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    starts_at: Mapped[datetime | None]
    ends_at: Mapped[datetime | None]


class TitlePlan(Base):
    __tablename__ = "title_plans"

    title_pk: Mapped[int] = mapped_column(sa.ForeignKey("titles.pk"), primary_key=True)
    plan_code: Mapped[str] = mapped_column(primary_key=True)


class TitleAgeRating(Base):
    __tablename__ = "title_age_ratings"

    title_pk: Mapped[int] = mapped_column(sa.ForeignKey("titles.pk"), primary_key=True)
    country: Mapped[str] = mapped_column(primary_key=True)
    label: Mapped[str]
    min_age: Mapped[int | None]
    age_gate: Mapped[int]


class Extra(Base):
    __tablename__ = "extras"

    pk: Mapped[int] = mapped_column(primary_key=True)
    title_pk: Mapped[int] = mapped_column(sa.ForeignKey("titles.pk"))
    removed_at: Mapped[datetime | None]


Title.has_extras = orm.column_property(
    sa.exists().where(Extra.title_pk == Title.pk, Extra.removed_at.is_(None)), deferred=True
)
ORDERS = {
    "-added": [TitleFacet.title_pk.desc()],
    "-popularity": [TitleFacet.rank.desc()],
    "title": [TitleFacet.sort_title, TitleFacet.title_pk],
}


def set_pragmas(engine: sa.Engine) -> None:
    """Set the pragmas of each connection that the engine opens."""

    @event.listens_for(engine, "connect")
    def on_connect(connection, _):
        for pragma in PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")


def find_viewer(db: orm.Session, authorization: str | None) -> Viewer | None:
    """Return the viewer of a bearer token; None without a live session."""
    epoch = sa.select(sa.func.coalesce(sa.func.max(ServiceEpoch.number), 0)).scalar_subquery()
    account = joinedload(Session.account, innerjoin=True)
    live = Account.subscriptions.and_(Subscription.status.in_(LIVE_STATUSES))
    session = db.scalar(
        sa.select(Session)
        .where(
            Session.token_hash == hash_bearer_token(authorization),
            Session.ended_at.is_(None),
            Session.dpop_jkt.is_(None),
            Session.service_epoch >= epoch,
            Session.account.has(Account.status == "active"),
        )
        .options(
            joinedload(Session.device, innerjoin=True),
            account.selectinload(Account.profiles.and_(Profile.deleted_at.is_(None))),
            account.selectinload(live).joinedload(Subscription.plan, innerjoin=True),
        )
    )
    if session is None:
        return None
    viewer = Viewer(session, session.account.profiles, next(iter(session.account.subscriptions), None), current_time())
    return viewer if viewer.is_live else None


def list_titles(db: orm.Session, viewer: Viewer, genre: str, sort: str, limit: int) -> dict[str, Any] | None:
    """Return a first page of a genre; None if there is no such genre."""
    facet = db.scalar(sa.select(Facet).where(Facet.kind == "genre", Facet.code == genre))
    if facet is None:
        return None
    country = viewer.account.country
    statement = (
        sa.select(TitleFacet)
        .join(TitleFacet.title)
        .outerjoin(Title.age_ratings.and_(TitleAgeRating.country == country, Title.rated_per_country))
        .where(TitleFacet.facet_pk == facet.pk, *listed_conditions(viewer))
        .order_by(*ORDERS[sort])
        .limit(limit + 1)
        .options(
            orm.contains_eager(TitleFacet.title).options(
                orm.contains_eager(Title.age_ratings),
                selectinload(Title.cards.and_(TitleCard.locale.in_(viewer.locales))),
            )
        )
    )
    links = db.scalars(statement).unique().all()
    cards = [card_document(link.title.cards, link.title.age_ratings, viewer.locales) for link in links[:limit]]
    return page_document(links, limit, sort, genre, cards)


def listed_conditions(viewer: Viewer) -> list[sa.ColumnElement[bool]]:
    """Return which titles lists show to a viewer; `TitleAgeRating` is that of the viewer's country."""
    gate = sa.func.coalesce(TitleAgeRating.age_gate, Title.min_age, 99)
    opened = Title.windows.any(
        sa.and_(
            TitleWindow.country.in_(["*", viewer.account.country]),
            sa.or_(TitleWindow.starts_at.is_(None), TitleWindow.starts_at <= viewer.now),
            sa.or_(TitleWindow.ends_at.is_(None), TitleWindow.ends_at > viewer.now),
        )
    )
    held = TitlePlan.plan_code.in_(viewer.facts.plans) if viewer.facts.subscribed else sa.true()
    return [
        Title.removed_at.is_(None),
        sa.or_(Title.age_gate <= viewer.max_age, sa.and_(Title.rated_per_country, gate <= viewer.max_age)),
        sa.or_(~Title.windowed, opened),
        sa.or_(~Title.plan_limited, Title.plans.any(held)),
    ]


def get_title(db: orm.Session, viewer: Viewer, title_id: str) -> dict[str, Any] | None:
    """Return a title; None if there is none, or if it is hidden."""
    title = db.scalar(
        sa.select(Title)
        .where(Title.id == title_id, Title.removed_at.is_(None))
        .options(
            orm.undefer(Title.has_extras),
            joinedload(Title.detail, innerjoin=True),
            selectinload(Title.cards.and_(TitleCard.locale.in_(viewer.locales))),
        )
    )
    return title and title_document(title, viewer)
