from datetime import UTC, datetime, timedelta

import pytest

from streamsvc.rules.playback import progress, stream_rules
from streamsvc.rules.playback.progress import PlayableItem

NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)
FILM = PlayableItem("ttl_1", "ttl_1", runtime_s=6000)
WITH_CREDITS = PlayableItem("ttl_1", "ttl_1", runtime_s=6000, credits_s=5000)


@pytest.mark.parametrize("position_s, watched", [(0, False), (5399, False), (5400, True), (6000, True)])
def test_nine_tenths_count_as_watched(position_s, watched):
    assert (progress.normalize_report(FILM, position_s, None, NOON, NOON).watched_at is not None) == watched


@pytest.mark.parametrize("position_s, watched", [(4999, False), (5000, True)])
def test_known_credits_are_the_end(position_s, watched):
    assert (progress.normalize_report(WITH_CREDITS, position_s, None, NOON, NOON).watched_at is not None) == watched


def test_late_credits_delay_the_end():
    assert not progress.reaches_end(5500, 6000, credits_s=5800)
    assert not progress.reaches_end(5999, 6000, credits_s=6000)


def test_credits_after_the_end_are_ignored():
    assert progress.reaches_end(5400, 6000, credits_s=9000)


def test_the_players_duration_takes_precedence():
    assert progress.normalize_report(FILM, 2750, 3000, NOON, NOON).watched_at == NOON


def test_without_a_duration_nothing_counts_as_watched():
    assert not progress.reaches_end(90_000, None, None)


def test_a_position_after_the_end_is_the_end():
    assert progress.normalize_report(FILM, 9999, None, NOON, NOON).position_s == 6000


def test_a_clock_that_runs_ahead_counts_as_now():
    report = progress.normalize_report(FILM, 100, None, NOON + timedelta(days=9000), NOON)
    assert (report.at, report.claimed_at) == (NOON, NOON + timedelta(days=9000))


@pytest.mark.parametrize(
    "position_s, duration_s, begun",
    [(29, 6000, False), (30, 6000, True), (9, 200, False), (10, 200, True), (30, None, True)],
)
def test_an_item_is_started_after_half_a_minute_or_less_if_short(position_s, duration_s, begun):
    assert progress.is_started(position_s, duration_s) == begun


def test_playback_resumes_where_it_stopped():
    assert progress.resume_position_s(1800, 6000, None, None) == 1800


def test_a_finished_item_resumes_at_the_start():
    assert progress.resume_position_s(5900, 6000, NOON, None) == 0


def test_a_restarted_item_resumes_where_it_stopped():
    assert progress.resume_position_s(1800, 6000, NOON, NOON + timedelta(hours=1)) == 1800


def test_only_playing_time_counts_as_watched():
    later = NOON + timedelta(seconds=30)
    assert [stream_rules.watched_seconds(state, NOON, later) for state in ("playing", "paused", "buffering")] == [
        30,
        0,
        0,
    ]


def test_time_without_heartbeats_counts_up_to_the_ttl():
    assert stream_rules.watched_seconds("playing", NOON, NOON + timedelta(days=1)) == 90


def test_a_clock_set_back_subtracts_nothing():
    assert stream_rules.watched_seconds("playing", NOON, NOON - timedelta(hours=1)) == 0


@pytest.mark.parametrize(
    "plan, requested, height", [(1080, None, 1080), (1080, 720, 720), (720, 2160, 720), (None, None, None)]
)
def test_the_height_is_the_lower_of_plan_and_player(plan, requested, height):
    assert stream_rules.allowed_height(plan, requested) == height


def test_every_access_check_has_its_error():
    from streamsvc.rules.playback.access import TitleFacts, ViewerFacts, access_checks

    codes = {check.code for check in access_checks(TitleFacts(), ViewerFacts(), NOON)}
    assert codes == set(stream_rules.REFUSAL_BY_CODE)
