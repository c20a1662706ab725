"""The models, of tables that streamsvc's migrations create."""

from django.db import models

from bench.peers.viewer import AccountRules, ProfileRules, SessionRules, SubscriptionRules


class Model(models.Model):
    class Meta:
        abstract, managed = True, False


class Account(AccountRules, Model):
    id = models.TextField(primary_key=True)
    email = models.TextField()
    email_verified_at = models.DateTimeField(null=True)
    name = models.TextField(null=True)
    country = models.TextField()
    time_zone = models.TextField()
    locale = models.TextField()
    status = models.TextField()
    store_access = models.JSONField(null=True)
    created_at = models.DateTimeField()

    class Meta(Model.Meta):
        abstract, db_table = False, "accounts"


class Device(Model):
    id = models.TextField(primary_key=True)
    name = models.TextField()
    kind = models.TextField()

    class Meta(Model.Meta):
        abstract, db_table = False, "devices"


class ServiceEpoch(Model):
    number = models.IntegerField()

    class Meta(Model.Meta):
        abstract, db_table = False, "service_epoch"


class Session(SessionRules, Model):
    id = models.TextField(primary_key=True)
    account = models.ForeignKey(Account, models.DO_NOTHING)
    device = models.ForeignKey(Device, models.DO_NOTHING)
    profile_id = models.TextField(null=True)
    token_hash = models.TextField(unique=True)
    lifetime = models.TextField()
    service_epoch = models.IntegerField()
    dpop_jkt = models.TextField(null=True)
    created_at = models.DateTimeField()
    authenticated_at = models.DateTimeField()
    last_seen_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    impersonated_by = models.TextField(null=True)
    impersonation_reason = models.TextField(null=True)
    is_authenticated = True

    class Meta(Model.Meta):
        abstract, db_table = False, "sessions"


class Profile(ProfileRules, Model):
    id = models.TextField(primary_key=True)
    account = models.ForeignKey(Account, models.DO_NOTHING, related_name="profiles")
    name = models.TextField()
    avatar = models.TextField(null=True)
    language = models.TextField(null=True)
    kids = models.BooleanField()
    max_age = models.IntegerField(null=True)
    autoplay = models.BooleanField()
    pin_hash = models.TextField(null=True)
    restrictions = models.JSONField(null=True)
    deleted_at = models.DateTimeField(null=True)

    class Meta(Model.Meta):
        abstract, db_table = False, "profiles"


class Plan(Model):
    id = models.TextField(primary_key=True)
    code = models.TextField(unique=True)
    features = models.JSONField()
    includes = models.JSONField()

    class Meta(Model.Meta):
        abstract, db_table = False, "plans"


class Subscription(SubscriptionRules, Model):
    id = models.TextField(primary_key=True)
    account = models.ForeignKey(Account, models.DO_NOTHING, related_name="subscriptions")
    plan = models.ForeignKey(Plan, models.DO_NOTHING)
    price_id = models.TextField()
    status = models.TextField()
    source = models.TextField(null=True)
    access_until = models.DateTimeField(null=True)
    period_start = models.DateField(null=True)
    period_end = models.DateField(null=True)
    trial_end = models.DateField(null=True)
    cancel_at = models.DateField(null=True)
    paused_at = models.DateTimeField(null=True)
    resumes_at = models.DateTimeField(null=True)
    addon_grants = models.JSONField(null=True)

    class Meta(Model.Meta):
        abstract, db_table = False, "subscriptions"


class Facet(Model):
    key = models.AutoField(primary_key=True, db_column="pk")
    kind = models.TextField()
    code = models.TextField()

    class Meta(Model.Meta):
        abstract, db_table = False, "facets"


class Title(Model):
    key = models.AutoField(primary_key=True, db_column="pk")
    public_id = models.TextField(unique=True, db_column="id")
    min_age = models.IntegerField(null=True)
    age_gate = models.IntegerField()
    rated_per_country = models.BooleanField()
    windowed = models.BooleanField()
    plan_limited = models.BooleanField()
    removed_at = models.DateTimeField(null=True)

    class Meta(Model.Meta):
        abstract, db_table = False, "titles"


class TitleFacet(Model):
    pk = models.CompositePrimaryKey("facet_id", "title_id")
    facet = models.ForeignKey(Facet, models.DO_NOTHING, db_column="facet_pk")
    title = models.ForeignKey(Title, models.DO_NOTHING, db_column="title_pk")
    sort_title = models.TextField()
    rank = models.BigIntegerField()

    class Meta(Model.Meta):
        abstract, db_table = False, "title_facets"

    @property
    def title_pk(self):
        return self.title_id


class TitleCard(Model):
    pk = models.CompositePrimaryKey("title_id", "locale")
    title = models.ForeignKey(Title, models.DO_NOTHING, db_column="title_pk", related_name="cards")
    locale = models.TextField()
    body = models.JSONField()

    class Meta(Model.Meta):
        abstract, db_table = False, "title_cards"


class TitleDetail(Model):
    title = models.OneToOneField(
        Title, models.DO_NOTHING, db_column="title_pk", primary_key=True, related_name="detail"
    )
    body = models.JSONField()

    class Meta(Model.Meta):
        abstract, db_table = False, "title_details"


class TitleWindow(Model):
    pk = models.CompositePrimaryKey("title_id", "country", "position")
    title = models.ForeignKey(Title, models.DO_NOTHING, db_column="title_pk", related_name="windows")
    country = models.TextField()
    position = models.IntegerField()
    starts_at = models.DateTimeField(null=True)
    ends_at = models.DateTimeField(null=True)

    class Meta(Model.Meta):
        abstract, db_table = False, "title_windows"


class TitlePlan(Model):
    pk = models.CompositePrimaryKey("title_id", "plan_code")
    title = models.ForeignKey(Title, models.DO_NOTHING, db_column="title_pk", related_name="plans")
    plan_code = models.TextField()

    class Meta(Model.Meta):
        abstract, db_table = False, "title_plans"


class TitleAgeRating(Model):
    pk = models.CompositePrimaryKey("title_id", "country")
    title = models.ForeignKey(Title, models.DO_NOTHING, db_column="title_pk", related_name="age_ratings")
    country = models.TextField()
    label = models.TextField()
    min_age = models.IntegerField(null=True)
    age_gate = models.IntegerField()

    class Meta(Model.Meta):
        abstract, db_table = False, "title_age_ratings"


class Extra(Model):
    key = models.AutoField(primary_key=True, db_column="pk")
    title = models.ForeignKey(Title, models.DO_NOTHING, db_column="title_pk")
    removed_at = models.DateTimeField(null=True)

    class Meta(Model.Meta):
        abstract, db_table = False, "extras"
