"""For any title, profile, country, plan and time: list, page, playback and explanation agree."""

import random
from datetime import timedelta

import pytest

from tests.conftest import NOON
from tests.worlds.playback_steps import World

TITLES, TIMES = 18, 3
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
COUNTRIES = ("DE", "US", "FR")
RATINGS = ("US:G", "US:PG-13", "US:R", "US:NC-17", None)
OTHER_RATINGS = ([], [], ["DE:6", "FR:16"], ["DE:18"], ["FR:TP"])
PLANS = ("standard", "premium", "mobile")


def some_windows(chance):
    """Return None, no window, or up to three windows around the time of the test."""
    if chance.random() < 0.3:
        return None
    windows = []
    for _ in range(chance.randrange(4)):
        days = sorted(chance.sample(range(-40, 40), 2))
        starts_at, ends_at = (NOON + timedelta(days=day) for day in days)
        window = {"countries": chance.choice([None, chance.sample(COUNTRIES, chance.randrange(1, 3))])}
        window |= {"starts_at": chance.choice([None, starts_at]), "ends_at": chance.choice([None, ends_at])}
        windows.append({name: getattr(value, "isoformat", lambda v=value: v)() for name, value in window.items()})
    return windows


def some_title(chance, number):
    return {
        "external_id": f"title-{number}",
        "kind": "movie",
        "title": f"Title {number}",
        "runtime_s": 6000,
        "age_rating": chance.choice(RATINGS),
        "age_ratings": chance.choice(OTHER_RATINGS),
        "windows": some_windows(chance),
        "genres": chance.sample(("Horror", "Family", "Drama"), 2),
        "tags": chance.sample(("Gore", "Cosy", "Family"), 2),
        "adult": chance.random() < 0.2,
        "plans": chance.choice([None, None, chance.sample(PLANS, chance.randrange(1, 3))]),
    }


def some_viewer(chance, world, prices):
    viewer = world.household(plan=chance.choice([*prices, None]), country=chance.choice(COUNTRIES))
    max_age = chance.choice([None, 6, 13, 17])
    if max_age is not None:
        response = viewer.patch(f"/v1/profiles/{viewer.profile_id}", {"max_age": max_age})
        assert response.status_code == 200, response.json
    titles = [chance.sample(sorted(world.ids.values()), 5), chance.sample(sorted(world.ids.values()), 12)]
    restrictions = {
        "blocked": {
            "titles": chance.choice([[], titles[0]]),
            "genres": chance.choice([[], ["horror"]]),
            "tags": chance.choice([[], ["gore"]]),
        },
        "allowed_only": chance.choice([None, None, {"titles": titles[1], "genres": ["family"], "tags": ["cosy"]}]),
        "viewing_hours": chance.choice([None, [{"days": chance.sample(DAYS, 3), "start": "08:00", "end": "20:00"}]]),
    }
    assert viewer.put(f"/v1/profiles/{viewer.profile_id}/restrictions", restrictions).status_code == 200
    return viewer


def error_code(response):
    """Return the error code of a playback, or None."""
    return None if response.status_code == 201 else response.json["code"]


@pytest.mark.parametrize("seed", range(2))
def test_list_page_play_and_explanation_agree(app, clock, seed):
    chance, world = random.Random(seed), World(app)
    prices = [world.put_plan(code, max_streams=1000) for code in PLANS]
    world.put_titles(*(some_title(chance, number) for number in range(TITLES)))
    viewers = [some_viewer(chance, world, prices) for _ in range(4)]
    outcomes = set()
    for _ in range(TIMES):
        for viewer in viewers:
            listed = {title["id"] for title in viewer.get("/v1/catalog/titles?limit=100").json["items"]}
            subscribed = viewer.get("/v1/sessions/current").json["entitlements"]["active"]
            for name, title_id in world.ids.items():
                played = error_code(viewer.play(name))
                page = viewer.get(f"/v1/catalog/titles/{title_id}")
                shown = page.json["availability"]["reason"] if page.status_code == 200 else page.json["code"]
                body = {"account_id": viewer.account_id, "item_id": title_id}
                explained = world.operator.post("/v1/admin/explain", body).json["code"]
                assert played == shown == explained, (seed, name, clock())
                assert (title_id not in listed) or played in (None, "subscription_required", "outside_viewing_hours")
                assert not (subscribed and played is None) or title_id in listed
                outcomes.add(played)
        clock.advance(days=chance.randrange(1, 8))
    assert len(outcomes) >= 3
