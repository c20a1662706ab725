"""Pauses: which days they freeze, how long they must last, and how often they may be made."""

import pytest

from tests.worlds.billing_world import World


@pytest.fixture
def world(app):
    """Every test ends with an audit of the books."""
    world = World(app)
    yield world
    assert world.differences() == []


@pytest.fixture
def ann(world):
    """A viewer whose month of 30 days, from 2026-04-01, is paid."""
    world.go_to("2026-04-01T12:00:00")
    ann = world.person()
    assert ann.subscribe(world.plan("p", 3000)).status_code == 201
    return ann


@pytest.fixture
def configure(app, monkeypatch):
    """A function that sets the limits of pauses, and other settings."""

    def configure(pauses="min=0 per_year=9 cool_down=0", **settings):
        monkeypatch.setitem(app.extensions, "settings", app.extensions["settings"].replace(pauses=pauses, **settings))

    return configure


def pause(person, **body):
    return person.post(f"/v1/subscriptions/{person.subscription()['id']}/pause", body)


def resume(person):
    return person.delete(f"/v1/subscriptions/{person.subscription()['id']}/pause")


def cancel(person, **body):
    return person.post(f"/v1/subscriptions/{person.subscription()['id']}/cancellation", {"when": "now", **body})


def period_end(person):
    return person.subscription()["period"]["end"]


@pytest.mark.parametrize("limits", ["min=3 per_year=3 cool_down=30", "min=0 per_year=99 cool_down=0"])
def test_a_pause_over_midnight_freezes_nothing_however_often_it_is_made(world, ann, configure, limits):
    configure(limits)
    for day in range(1, 29):
        world.go_to(f"2026-04-{day:02}T23:59:00")
        assert pause(ann).status_code == 200
        world.go_to(f"2026-04-{day + 1:02}T00:01:00")
        assert resume(ann).json["status"] == "active"
    assert period_end(ann) == "2026-05-01"
    world.go_to("2026-05-02T12:00:00")
    assert world.charges() == [3000, 3000]


@pytest.mark.parametrize(
    ("resumed_on", "end"), [("02", "01"), ("03", "01"), ("04", "03"), ("05", "04"), ("11", "10"), ("21", "20")]
)
def test_a_pause_freezes_the_days_between_its_first_and_its_last_if_it_lasts_three(world, ann, resumed_on, end):
    pause(ann)
    world.go_to(f"2026-04-{resumed_on}T08:00:00")
    assert resume(ann).json["period"]["end"] == f"2026-05-{end}"


def test_a_pause_that_is_too_short_leaves_what_was_paid_to_its_own_days(world, ann):
    world.go_to("2026-04-29T12:00:00")
    pause(ann)
    world.go_to("2026-05-01T12:00:00")
    assert resume(ann).json["period"] == {"start": "2026-05-01", "end": "2026-06-01"}
    assert ann.lines() == [("charge", "2026-04-01", "2026-05-01", 3000), ("charge", "2026-05-01", "2026-06-01", 3000)]


def test_a_pause_of_the_last_paid_day_ends_with_a_new_period(world, ann):
    world.go_to("2026-04-30T12:00:00")
    pause(ann)
    world.go_to("2026-05-10T12:00:00")
    assert resume(ann).json["period"] == {"start": "2026-05-10", "end": "2026-06-10"}
    assert world.charges() == [3000, 3000]


def test_a_pause_that_ends_by_itself_freezes_the_same_days(world, ann):
    pause(ann, resumes_at="2026-04-04")
    world.go_to("2026-04-04T00:00:00")
    assert (ann.subscription()["status"], ann.subscription()["resumes_at"], period_end(ann)) == (
        "active",
        None,
        "2026-05-03",
    )


TOO_SHORT = "Must be 2026-04-04 or later: a pause has a minimum length."


@pytest.mark.parametrize(
    ("resumes_at", "error"),
    [
        ("2026-04-03", TOO_SHORT),
        ("2026-04-03T23:59:59Z", TOO_SHORT),
        ("2026-04-01T12:00:01Z", TOO_SHORT),
        ("2026-04-01T12:00:00Z", "Must be in the future."),
    ],
)
def test_a_pause_cannot_be_planned_shorter_than_the_minimum(world, ann, resumes_at, error):
    response = pause(ann, resumes_at=resumes_at)
    assert (response.status_code, response.json["errors"]) == (422, {"resumes_at": [error]})
    assert ann.subscription()["status"] == "active"
    assert pause(ann, resumes_at="2026-04-04").status_code == 200


def test_a_pause_must_wait_for_the_cool_down_of_the_last_one(world, ann):
    bob = world.person()
    bob.subscribe(world.plan("q", 3000))
    pause(ann)
    world.go_to("2026-04-04T12:00:00")
    resume(ann)
    for day in ("2026-04-05", "2026-05-03"):
        world.go_to(f"{day}T12:00:00")
        response = pause(ann)
        assert (response.status_code, response.json["code"]) == (409, "pause_limit_reached")
        assert response.json["allowed_from"] == "2026-05-04"
        preview = {"subscription_id": ann.subscription()["id"], "resumes_at": "2026-07-01"}
        assert ann.post("/v1/invoice-previews", preview).json["code"] == "pause_limit_reached"
    assert (ann.subscription()["status"], pause(bob).status_code) == ("active", 200)
    world.go_to("2026-05-04T12:00:00")
    assert pause(ann).status_code == 200


def test_a_year_has_a_maximum_of_pauses(world, ann, configure):
    configure("min=3 per_year=2 cool_down=0")
    for day in ("04-01", "05-01"):
        world.go_to(f"2026-{day}T12:00:00")
        assert pause(ann).status_code == 200
        world.go_to(f"2026-{day[:3]}04T12:00:00")
        resume(ann)
    world.go_to("2026-05-05T12:00:00")
    assert pause(ann).json["allowed_from"] == "2027-04-01"
    world.go_to("2027-03-31T12:00:00")
    assert pause(ann).status_code == 409
    world.go_to("2027-04-01T12:00:00")
    assert pause(ann).status_code == 200


def test_a_pause_that_froze_nothing_does_not_count(world, ann):
    for day in ("02", "03"):
        pause(ann)
        world.go_to(f"2026-04-{day}T12:00:00")
        resume(ann)
    assert pause(ann).status_code == 200


def test_the_day_of_the_pause_counts_as_used_in_a_cancellation(world, ann):
    world.go_to("2026-04-10T12:00:00")
    pause(ann)
    cancel(ann)
    assert ann.lines()[-1] == ("credit", "2026-04-11", "2026-05-01", -2000)
    bob = world.person()
    bob.subscribe(world.plan("q", 3000))
    pause(bob)
    assert cancel(bob, effective_date="2026-04-10").json["status"] == "canceled"
    assert bob.lines()[-1] == ("credit", "2026-04-11", "2026-05-10", -2900)


def test_the_day_of_a_cancellation_in_a_pause_is_not_used(world, ann):
    world.go_to("2026-04-10T12:00:00")
    pause(ann)
    world.go_to("2026-04-20T12:00:00")
    cancel(ann)
    assert ann.lines()[-1] == ("credit", "2026-04-20", "2026-05-10", -2000)


def test_a_trial_that_rests_without_a_card_is_not_resumed_day_by_day(world, configure):
    configure("min=3 per_year=3 cool_down=30", trial_without_card="pause")
    ann = world.person(card=None)
    ann.subscribe(world.plan("t", 3000, trial_days=7))
    for day in range(22, 26):
        world.go_to(f"2026-01-{day}T12:00:00")
        assert resume(ann).json["decline_code"] == "payment_method_required"
        assert ann.subscription()["status"] == "paused"
    ann.add_card()
    assert resume(ann).json["period"] == {"start": "2026-01-25", "end": "2026-02-25"}
    assert world.charges() == [3000]
    assert pause(ann).status_code == 200  # that rest froze nothing, so it does not count


def test_a_pause_in_a_trial_freezes_its_days(world):
    ann = world.person()
    ann.subscribe(world.plan("t", 3000, trial_days=14))
    pause(ann)
    world.go_to("2026-01-25T12:00:00")
    assert resume(ann).json["trial_end"] == "2026-02-07"
    assert pause(ann).json["allowed_from"] == "2026-02-24"
