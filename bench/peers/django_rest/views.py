"""The views, their queries and their URLs."""

from operator import methodcaller

from django.db.models import Exists, F, OuterRef, Prefetch, Q, Subquery
from django.db.models.functions import Coalesce
from django.urls import path
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.permissions import BasePermission
from rest_framework.response import Response
from rest_framework.views import APIView

from bench.peers.django_rest.models import (
    Extra,
    Facet,
    Profile,
    ServiceEpoch,
    Session,
    Subscription,
    Title,
    TitleAgeRating,
    TitleCard,
    TitleFacet,
    TitlePlan,
    TitleWindow,
)
from bench.peers.django_rest.serializers import (
    CurrentSessionSerializer,
    ListQuerySerializer,
    PageSerializer,
    TitleSerializer,
)
from bench.peers.viewer import Viewer, card_document, current_time, hash_bearer_token, page_document, title_document
from streamsvc.rules.billing.access import LIVE_STATUSES


class SessionAuthentication(BaseAuthentication):
    """Authenticate by the bearer token of a session; `request.auth` is the Viewer."""

    def authenticate(self, request):
        viewer = find_viewer(request.headers.get("Authorization"))
        return viewer and (viewer.session, viewer)

    def authenticate_header(self, request):
        return "Bearer"


class IsSignedIn(BasePermission):
    def has_permission(self, request, view):
        return request.auth is not None


def find_viewer(authorization):
    """Return the viewer of a bearer token; None without a live session."""
    epoch = Coalesce(Subquery(ServiceEpoch.objects.order_by("-number").values("number")[:1]), 0)
    live = Subscription.objects.filter(status__in=LIVE_STATUSES).select_related("plan")
    session = (
        Session.objects.filter(
            token_hash=hash_bearer_token(authorization),
            ended_at=None,
            dpop_jkt=None,
            service_epoch__gte=epoch,
            account__status="active",
        )
        .select_related("account", "device")
        .prefetch_related(
            Prefetch("account__profiles", Profile.objects.filter(deleted_at=None).order_by("id")),
            Prefetch("account__subscriptions", live),
        )
        .first()
    )
    if session is None:
        return None
    account = session.account
    subscription = next(iter(account.subscriptions.all()), None)
    viewer = Viewer(session, list(account.profiles.all()), subscription, current_time())
    return viewer if viewer.is_live else None


def prefetch_cards(viewer, prefix=""):
    """Prefetch what `card_document` needs of titles."""
    return Prefetch(f"{prefix}cards", TitleCard.objects.filter(locale__in=viewer.locales))


class ViewerAPIView(APIView):
    authentication_classes = [SessionAuthentication]
    permission_classes = [IsSignedIn]


class CurrentSessionView(ViewerAPIView):
    def get(self, request):
        return Response(CurrentSessionSerializer(request.auth).data)


class TitlesView(ViewerAPIView):
    ORDERS = {"-added": ["-title_id"], "-popularity": ["-rank"], "title": ["sort_title", "title_id"]}

    def get(self, request):
        query = ListQuerySerializer(data=request.query_params)
        query.is_valid(raise_exception=True)
        genre, sort, limit = (query.validated_data[name] for name in ("genre", "sort", "limit"))
        facet = Facet.objects.filter(kind="genre", code=genre).first()
        if facet is None:
            raise ValidationError({"genre": ["There is no such genre."]})
        viewer = request.auth
        links = list(self.list_links(viewer, facet).order_by(*self.ORDERS[sort])[: limit + 1])
        cards = [
            card_document(link.title.cards.all(), link.title.ratings_here, viewer.locales) for link in links[:limit]
        ]
        return Response(PageSerializer(page_document(links, limit, sort, genre, cards)).data)

    def list_links(self, viewer, facet):
        """Return the links of a facet to the titles that lists show to the viewer."""
        country, now = viewer.account.country, viewer.now
        here = TitleAgeRating.objects.filter(country=country)
        opened = TitleWindow.objects.filter(
            Q(starts_at=None) | Q(starts_at__lte=now),
            Q(ends_at=None) | Q(ends_at__gt=now),
            title=OuterRef("title_id"),
            country__in=["*", country],
        )
        held = TitlePlan.objects.filter(title=OuterRef("title_id"))
        if viewer.facts.subscribed:
            held = held.filter(plan_code__in=viewer.facts.plans)
        gate_here = Subquery(here.filter(title=OuterRef("title_id")).values("age_gate")[:1])
        return (
            TitleFacet.objects.filter(facet=facet, title__removed_at=None)
            .alias(gate=Coalesce(gate_here, F("title__min_age"), 99))
            .filter(
                Q(title__age_gate__lte=viewer.max_age) | Q(title__rated_per_country=True, gate__lte=viewer.max_age),
                Q(title__windowed=False) | Exists(opened),
                Q(title__plan_limited=False) | Exists(held),
            )
            .select_related("title")
            .prefetch_related(
                prefetch_cards(viewer, "title__"), Prefetch("title__age_ratings", here, to_attr="ratings_here")
            )
        )


class TitleView(ViewerAPIView):
    def get(self, request, title_id):
        viewer = request.auth
        extras = Extra.objects.filter(title=OuterRef("key"), removed_at=None)
        title = (
            Title.objects.filter(public_id=title_id, removed_at=None)
            .select_related("detail")
            .prefetch_related(prefetch_cards(viewer))
            .annotate(has_extras=Exists(extras))
            .first()
        )
        document = title and title_document(title, viewer, methodcaller("all"))
        if document is None:
            raise NotFound
        return Response(TitleSerializer(document).data)


urlpatterns = [
    path("v1/sessions/current", CurrentSessionView.as_view()),
    path("v1/catalog/titles", TitlesView.as_view()),
    path("v1/catalog/titles/<title_id>", TitleView.as_view()),
]
