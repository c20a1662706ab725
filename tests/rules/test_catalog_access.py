from datetime import UTC, datetime, timedelta

import pytest

from streamsvc.rules.playback.access import TitleFacts, ViewerFacts, Window, access_checks, decide_access, is_listed

NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)
DAY = timedelta(days=1)
ANN = ViewerFacts(country="DE", subscribed=True, plans=("basic",))


def windows(*spans, countries=("DE",)):
    where = countries and frozenset(countries)

    def at(days):
        return None if days is None else NOW + days * DAY

    return tuple(Window(where, at(start), at(end)) for start, end in spans)


def test_a_title_without_windows_and_plans_is_playable_everywhere():
    assert decide_access(TitleFacts(), ANN, NOW).playable
    assert decide_access(TitleFacts(), ViewerFacts(subscribed=True, plans=("x",)), NOW).playable


@pytest.mark.parametrize(
    ("title", "viewer", "reason"),
    [
        (TitleFacts(min_age=16), ViewerFacts(max_age=12, country="DE", subscribed=True), "not_found"),
        (TitleFacts(), ViewerFacts(max_age=12, country="DE", subscribed=True), "not_found"),
        (TitleFacts(), ViewerFacts(country="DE", subscribed=True, has_profile=False), "profile_required"),
        (TitleFacts(), ViewerFacts(country="DE"), "subscription_required"),
        (TitleFacts(plans=frozenset({"premium"})), ANN, "not_in_plan"),
        (TitleFacts(plans=frozenset()), ANN, "not_in_plan"),
        (TitleFacts(windows=windows((None, None))), ViewerFacts(subscribed=True), "country_unknown"),
        (TitleFacts(windows=windows((None, None), countries=("US",))), ANN, "not_available_in_country"),
        (TitleFacts(windows=()), ANN, "not_available_in_country"),
        (TitleFacts(windows=windows((1, 2))), ANN, "not_yet_available"),
        (TitleFacts(windows=windows((-2, -1))), ANN, "no_longer_available"),
        (TitleFacts(windows=windows((-2, -1), (1, 2))), ANN, "not_yet_available"),
    ],
)
def test_each_refusal_has_its_reason(title, viewer, reason):
    found = decide_access(title, viewer, NOW)
    assert (found.playable, found.reason) == (False, reason)
    assert found.hidden == (reason == "not_found")


def test_refusals_follow_the_documented_order():
    title = TitleFacts(min_age=18, windows=windows((-2, -1)), plans=frozenset())
    failed = [
        check.code for check in access_checks(title, ViewerFacts(max_age=6, has_profile=False), NOW) if not check.passed
    ]
    assert failed == [
        "not_found", "profile_required", "subscription_required", "not_in_plan", "country_unknown",
        "not_available_in_country",
    ]  # fmt: skip


def test_a_window_is_half_open():
    title = TitleFacts(windows=windows((-1, 1)))
    before, first, last, end = NOW - 1.1 * DAY, NOW - DAY, NOW + 0.9 * DAY, NOW + DAY
    assert [decide_access(title, ANN, at).playable for at in (before, first, last, end)] == [False, True, True, False]


def test_the_decision_includes_the_relevant_window():
    title = TitleFacts(windows=windows((-9, -5), (-1, 2), (0, 3), (12, 14), (7, 9)))
    found = decide_access(title, ANN, NOW)
    assert (found.starts_at, found.ends_at) == (NOW, NOW + 3 * DAY)
    later = decide_access(title, ANN, NOW + 4 * DAY)
    assert (later.reason, later.starts_at) == ("not_yet_available", NOW + 7 * DAY)


def test_a_window_for_every_country_needs_no_country():
    assert decide_access(
        TitleFacts(windows=windows((None, 1), countries=None)), ViewerFacts(subscribed=True), NOW
    ).playable


def test_viewers_without_a_subscription_see_titles_of_any_plan():
    stranger = ViewerFacts(country="DE")
    assert is_listed(TitleFacts(plans=frozenset({"premium"})), stranger, NOW)
    assert not is_listed(TitleFacts(plans=frozenset({"premium"})), ANN, NOW)
    assert not is_listed(TitleFacts(plans=frozenset()), stranger, NOW)
    assert not is_listed(TitleFacts(windows=windows((1, 2))), stranger, NOW)


def test_operators_need_no_subscription():
    operator = ViewerFacts(country="DE", any_plan=True)
    assert decide_access(TitleFacts(plans=frozenset()), operator, NOW).playable
    assert is_listed(TitleFacts(plans=frozenset()), operator, NOW)


def test_an_unrated_title_is_hidden_only_from_profiles_with_a_limit():
    assert not is_listed(TitleFacts(), ViewerFacts(max_age=18, subscribed=True), NOW)
    assert is_listed(TitleFacts(), ViewerFacts(subscribed=True), NOW)
