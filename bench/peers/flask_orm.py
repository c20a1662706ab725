"""Flask with Flask-SQLAlchemy's ORM and marshmallow."""

from flask import Flask, abort, request
from flask_sqlalchemy import SQLAlchemy
from marshmallow import Schema, fields, validate

from bench.peers import orm
from bench.peers.viewer import DATABASE, DEFAULT_LIMIT, MAX_LIMIT, SORTS, Viewer, format_utc

app = Flask(__name__)
app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{DATABASE}"
db = SQLAlchemy(app)
with app.app_context():
    orm.set_pragmas(db.engine)


class Moment(fields.Field):
    """A time in UTC, with `Z`."""

    def _serialize(self, value, attr, obj, **kwargs):
        return format_utc(value)


class DeviceSchema(Schema):
    id = fields.String()
    name = fields.String()
    kind = fields.String()


class SessionSchema(Schema):
    id = fields.String()
    device = fields.Nested(DeviceSchema)
    profile_id = fields.String()
    created_at = Moment()
    authenticated_at = Moment()
    last_seen_at = Moment()
    expires_at = Moment()
    current = fields.Boolean()


class AccountSchema(Schema):
    id = fields.String()
    email = fields.String()
    email_verified = fields.Boolean()
    name = fields.String()
    country = fields.String()
    time_zone = fields.String()
    locale = fields.String()
    created_at = Moment()
    store_account_id = fields.String()


class ProfileSchema(Schema):
    id = fields.String()
    name = fields.String()
    avatar = fields.String()
    language = fields.String()
    kids = fields.Boolean()
    max_age = fields.Integer()
    autoplay = fields.Boolean()
    has_pin = fields.Boolean()


class PeriodSchema(Schema):
    start = fields.Date()
    end = fields.Date()


class SubscriptionSchema(Schema):
    id = fields.String()
    status = fields.String()
    plan = fields.String(attribute="plan.code")
    price_id = fields.String()
    period = fields.Nested(PeriodSchema)
    trial_end = fields.Date()
    cancel_at = fields.Date()
    paused_at = Moment()
    resumes_at = Moment()


class EntitlementsSchema(Schema):
    active = fields.Boolean()
    plan = fields.String()
    plans = fields.List(fields.String())
    until = Moment()
    max_streams = fields.Integer()
    max_height = fields.Integer()
    max_profiles = fields.Integer()
    max_devices = fields.Integer()
    downloads = fields.Boolean()
    ads = fields.Boolean()


class SourceSchema(Schema):
    subscription_id = fields.String()
    source = fields.String()
    status = fields.String()
    plan = fields.String()
    until = Moment()
    renews = fields.Boolean()
    management_url = fields.String()


class ImpersonationSchema(Schema):
    operator = fields.String()
    reason = fields.String()


class CurrentSessionSchema(Schema):
    session = fields.Nested(SessionSchema)
    guest = fields.Boolean()
    account = fields.Nested(AccountSchema)
    profiles = fields.List(fields.Nested(ProfileSchema))
    profile = fields.Nested(ProfileSchema)
    subscription = fields.Nested(SubscriptionSchema)
    entitlements = fields.Nested(EntitlementsSchema)
    sources = fields.List(fields.Nested(SourceSchema))
    impersonation = fields.Nested(ImpersonationSchema)


class AgeRatingSchema(Schema):
    system = fields.String()
    label = fields.String()
    min_age = fields.Integer()


class ArtworkSchema(Schema):
    role = fields.String()
    url = fields.String()
    width = fields.Integer()
    height = fields.Integer()
    language = fields.String()


class TitleCardSchema(Schema):
    id = fields.String()
    kind = fields.String()
    title = fields.String()
    original_title = fields.String()
    year = fields.Integer()
    runtime_s = fields.Integer()
    age_rating = fields.Nested(AgeRatingSchema)
    genres = fields.List(fields.String())
    languages = fields.List(fields.String())
    countries = fields.List(fields.String())
    synopsis = fields.String()
    artwork = fields.List(fields.Nested(ArtworkSchema))
    external_ids = fields.Dict(keys=fields.String(), values=fields.String())


class PageSchema(Schema):
    items = fields.List(fields.Nested(TitleCardSchema))
    next_cursor = fields.String()


class StudioSchema(Schema):
    code = fields.String()
    name = fields.String()


class AlternativeTitleSchema(Schema):
    title = fields.String()
    language = fields.String()
    country = fields.String()
    kind = fields.String()


class CreditSchema(Schema):
    person_id = fields.String()
    name = fields.String()
    role = fields.String()
    character = fields.String()
    picture = fields.Nested(ArtworkSchema)


class TrackSchema(Schema):
    kind = fields.String()
    language = fields.String()


class AvailabilitySchema(Schema):
    playable = fields.Boolean()
    reason = fields.String()
    starts_at = Moment()
    ends_at = Moment()


class TitleSchema(TitleCardSchema):
    tags = fields.List(fields.String())
    studios = fields.List(fields.Nested(StudioSchema))
    alternative_titles = fields.List(fields.Nested(AlternativeTitleSchema))
    adult = fields.Boolean()
    credits = fields.List(fields.Nested(CreditSchema))
    markers = fields.Dict(keys=fields.String(), values=fields.Float())
    tracks = fields.List(fields.Nested(TrackSchema))
    extras = fields.List(fields.Dict())
    availability = fields.Nested(AvailabilitySchema)


class ListQuerySchema(Schema):
    genre = fields.String(required=True)
    sort = fields.String(load_default="-added", validate=validate.OneOf(SORTS))
    limit = fields.Integer(load_default=DEFAULT_LIMIT, validate=validate.Range(1, MAX_LIMIT))


current_session_schema, page_schema, title_schema = CurrentSessionSchema(), PageSchema(), TitleSchema()
list_query_schema = ListQuerySchema()


def require_viewer() -> Viewer:
    """Return the viewer of the request. Aborts with 401."""
    return orm.find_viewer(db.session, request.headers.get("Authorization")) or abort(401)


@app.get("/v1/sessions/current")
def get_current_session():
    return current_session_schema.dump(require_viewer())


@app.get("/v1/catalog/titles")
def list_titles():
    viewer = require_viewer()
    errors = list_query_schema.validate(request.args)
    if errors:
        return {"errors": errors}, 422
    page = orm.list_titles(db.session, viewer, **list_query_schema.load(request.args))
    return page_schema.dump(page) if page else ({"errors": {"genre": ["There is no such genre."]}}, 422)


@app.get("/v1/catalog/titles/<title_id>")
def get_title(title_id):
    return title_schema.dump(orm.get_title(db.session, require_viewer(), title_id) or abort(404))
