"""The serializers."""

from rest_framework import serializers

from bench.peers.django_rest.models import Account, Device, Profile, Session, Subscription
from bench.peers.viewer import DEFAULT_LIMIT, MAX_LIMIT, SORTS


class DeviceSerializer(serializers.ModelSerializer):
    class Meta:
        model, fields = Device, ["id", "name", "kind"]


class SessionSerializer(serializers.ModelSerializer):
    device = DeviceSerializer()
    expires_at = serializers.DateTimeField()
    current = serializers.BooleanField()

    class Meta:
        model = Session
        fields = [
            "id", "device", "profile_id", "created_at", "authenticated_at", "last_seen_at", "expires_at", "current"
        ]  # fmt: skip


class AccountSerializer(serializers.ModelSerializer):
    email_verified = serializers.BooleanField()
    store_account_id = serializers.CharField()

    class Meta:
        model = Account
        fields = [
            "id", "email", "email_verified", "name", "country", "time_zone", "locale", "created_at", "store_account_id"
        ]  # fmt: skip


class ProfileSerializer(serializers.ModelSerializer):
    has_pin = serializers.BooleanField()

    class Meta:
        model = Profile
        fields = ["id", "name", "avatar", "language", "kids", "max_age", "autoplay", "has_pin"]


class PeriodSerializer(serializers.Serializer):
    start = serializers.DateField()
    end = serializers.DateField()


class SubscriptionSerializer(serializers.ModelSerializer):
    plan = serializers.CharField(source="plan.code")
    period = PeriodSerializer()

    class Meta:
        model = Subscription
        fields = [
            "id", "status", "plan", "price_id", "period", "trial_end", "cancel_at", "paused_at", "resumes_at"
        ]  # fmt: skip


class EntitlementsSerializer(serializers.Serializer):
    active = serializers.BooleanField()
    plan = serializers.CharField()
    plans = serializers.ListField(child=serializers.CharField())
    until = serializers.DateTimeField()
    max_streams = serializers.IntegerField()
    max_height = serializers.IntegerField()
    max_profiles = serializers.IntegerField()
    max_devices = serializers.IntegerField()
    downloads = serializers.BooleanField()
    ads = serializers.BooleanField()


class SourceSerializer(serializers.Serializer):
    subscription_id = serializers.CharField()
    source = serializers.CharField()
    status = serializers.CharField()
    plan = serializers.CharField()
    until = serializers.DateTimeField()
    renews = serializers.BooleanField()
    management_url = serializers.CharField()


class ImpersonationSerializer(serializers.Serializer):
    operator = serializers.CharField()
    reason = serializers.CharField()


class CurrentSessionSerializer(serializers.Serializer):
    session = SessionSerializer()
    guest = serializers.BooleanField()
    account = AccountSerializer()
    profiles = ProfileSerializer(many=True)
    profile = ProfileSerializer()
    subscription = SubscriptionSerializer()
    entitlements = EntitlementsSerializer()
    sources = SourceSerializer(many=True)
    impersonation = ImpersonationSerializer()


class AgeRatingSerializer(serializers.Serializer):
    system = serializers.CharField()
    label = serializers.CharField()
    min_age = serializers.IntegerField()


class ArtworkSerializer(serializers.Serializer):
    role = serializers.CharField()
    url = serializers.CharField()
    width = serializers.IntegerField()
    height = serializers.IntegerField()
    language = serializers.CharField()


class TitleCardSerializer(serializers.Serializer):
    id = serializers.CharField()
    kind = serializers.CharField()
    title = serializers.CharField()
    original_title = serializers.CharField()
    year = serializers.IntegerField()
    runtime_s = serializers.IntegerField()
    age_rating = AgeRatingSerializer()
    genres = serializers.ListField(child=serializers.CharField())
    languages = serializers.ListField(child=serializers.CharField())
    countries = serializers.ListField(child=serializers.CharField())
    synopsis = serializers.CharField()
    artwork = ArtworkSerializer(many=True)
    external_ids = serializers.DictField(child=serializers.CharField())


class PageSerializer(serializers.Serializer):
    items = TitleCardSerializer(many=True)
    next_cursor = serializers.CharField()


class StudioSerializer(serializers.Serializer):
    code = serializers.CharField()
    name = serializers.CharField()


class AlternativeTitleSerializer(serializers.Serializer):
    title = serializers.CharField()
    language = serializers.CharField()
    country = serializers.CharField()
    kind = serializers.CharField()


class CreditSerializer(serializers.Serializer):
    person_id = serializers.CharField()
    name = serializers.CharField()
    role = serializers.CharField()
    character = serializers.CharField()
    picture = ArtworkSerializer(required=False)


class TrackSerializer(serializers.Serializer):
    kind = serializers.CharField()
    language = serializers.CharField()


class AvailabilitySerializer(serializers.Serializer):
    playable = serializers.BooleanField()
    reason = serializers.CharField()
    starts_at = serializers.DateTimeField()
    ends_at = serializers.DateTimeField()


class TitleSerializer(TitleCardSerializer):
    tags = serializers.ListField(child=serializers.CharField())
    studios = StudioSerializer(many=True)
    alternative_titles = AlternativeTitleSerializer(many=True)
    adult = serializers.BooleanField()
    credits = CreditSerializer(many=True)
    markers = serializers.DictField(child=serializers.FloatField())
    tracks = TrackSerializer(many=True)
    extras = serializers.ListField(child=serializers.DictField())
    availability = AvailabilitySerializer()


class ListQuerySerializer(serializers.Serializer):
    genre = serializers.CharField()
    sort = serializers.ChoiceField(SORTS, default="-added")
    limit = serializers.IntegerField(min_value=1, max_value=MAX_LIMIT, default=DEFAULT_LIMIT)
