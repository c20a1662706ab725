"""FastAPI with SQLAlchemy's ORM and Pydantic, on uvicorn."""

from collections.abc import Iterator
from datetime import date, datetime
from typing import Annotated, Any, Literal

import sqlalchemy as sa
from fastapi import Depends, FastAPI, Header, HTTPException, Query
from pydantic import AliasPath, BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session, sessionmaker

from bench.peers import orm
from bench.peers.viewer import DATABASE, DEFAULT_LIMIT, MAX_LIMIT, Viewer

engine = sa.create_engine(f"sqlite:///{DATABASE}", connect_args={"check_same_thread": False})
orm.set_pragmas(engine)
DatabaseSession = sessionmaker(engine)
app = FastAPI()


class Model(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class DeviceOut(Model):
    id: str
    name: str
    kind: str


class SessionOut(Model):
    id: str
    device: DeviceOut
    profile_id: str | None
    created_at: datetime
    authenticated_at: datetime
    last_seen_at: datetime
    expires_at: datetime
    current: bool


class AccountOut(Model):
    id: str
    email: str
    email_verified: bool
    name: str | None
    country: str
    time_zone: str
    locale: str
    created_at: datetime
    store_account_id: str


class ProfileOut(Model):
    id: str
    name: str
    avatar: str | None
    language: str | None
    kids: bool
    max_age: int | None
    autoplay: bool
    has_pin: bool


class Period(Model):
    start: date | None
    end: date | None


class SubscriptionOut(Model):
    id: str
    status: str
    plan: str = Field(validation_alias=AliasPath("plan", "code"))
    price_id: str
    period: Period
    trial_end: date | None
    cancel_at: date | None
    paused_at: datetime | None
    resumes_at: datetime | None


class Entitlements(Model):
    active: bool
    plan: str | None
    plans: list[str]
    until: datetime | None
    max_streams: int
    max_height: int
    max_profiles: int
    max_devices: int
    downloads: bool
    ads: bool


class Source(Model):
    subscription_id: str
    source: str
    status: str
    plan: str
    until: datetime | None
    renews: bool
    management_url: str | None


class Impersonation(Model):
    operator: str
    reason: str | None


class CurrentSession(Model):
    session: SessionOut
    guest: bool
    account: AccountOut
    profiles: list[ProfileOut]
    profile: ProfileOut | None
    subscription: SubscriptionOut | None
    entitlements: Entitlements
    sources: list[Source]
    impersonation: Impersonation | None


class AgeRating(Model):
    system: str
    label: str
    min_age: int | None


class Artwork(Model):
    role: str
    url: str
    width: int | None
    height: int | None
    language: str | None


class TitleCard(Model):
    id: str
    kind: str
    title: str
    original_title: str | None
    year: int | None
    runtime_s: int | None
    age_rating: AgeRating | None
    genres: list[str]
    languages: list[str]
    countries: list[str]
    synopsis: str | None
    artwork: list[Artwork]
    external_ids: dict[str, str]


class Page(Model):
    items: list[TitleCard]
    next_cursor: str | None


class Studio(Model):
    code: str
    name: str


class AlternativeTitle(Model):
    title: str
    language: str | None
    country: str | None
    kind: str | None


class Credit(Model):
    person_id: str
    name: str
    role: str
    character: str | None
    picture: Artwork | None = None


class Track(Model):
    kind: str
    language: str


class Availability(Model):
    playable: bool
    reason: str | None
    starts_at: datetime | None
    ends_at: datetime | None


class TitleDetail(TitleCard):
    tags: list[str]
    studios: list[Studio]
    alternative_titles: list[AlternativeTitle]
    adult: bool
    credits: list[Credit]
    markers: dict[str, float]
    tracks: list[Track]
    extras: list[dict[str, Any]]
    availability: Availability


class ListQuery(BaseModel):
    genre: str
    sort: Literal["-added", "-popularity", "title"] = "-added"
    limit: int = Field(DEFAULT_LIMIT, ge=1, le=MAX_LIMIT)


def open_session() -> Iterator[Session]:
    with DatabaseSession() as session:
        yield session


Database = Annotated[Session, Depends(open_session)]


def require_viewer(db: Database, authorization: Annotated[str | None, Header()] = None) -> Viewer:
    """Return the viewer of the request. Raises HTTPException."""
    viewer = orm.find_viewer(db, authorization)
    if viewer is None:
        raise HTTPException(401, headers={"WWW-Authenticate": "Bearer"})
    return viewer


CurrentViewer = Annotated[Viewer, Depends(require_viewer)]


@app.get("/v1/sessions/current", response_model=CurrentSession)
def get_current_session(viewer: CurrentViewer):
    return viewer


@app.get("/v1/catalog/titles", response_model=Page)
def list_titles(db: Database, viewer: CurrentViewer, query: Annotated[ListQuery, Query()]):
    page = orm.list_titles(db, viewer, query.genre, query.sort, query.limit)
    if page is None:
        raise HTTPException(422, "There is no such genre.")
    return page


@app.get("/v1/catalog/titles/{title_id}", response_model=TitleDetail, response_model_exclude_unset=True)
def get_title(db: Database, viewer: CurrentViewer, title_id: str):
    title = orm.get_title(db, viewer, title_id)
    if title is None:
        raise HTTPException(404)
    return title
