from datetime import UTC, datetime, timedelta

import pytest

from streamsvc.rules.playback import progress, streaming
from streamsvc.rules.playback.progress import PlayableItem

NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)
FILM = PlayableItem("ttl_1", "ttl_1", runtime_s=6000)
WITH_CREDITS = PlayableItem("ttl_1", "ttl_1", runtime_s=6000, credits_s=5000)


@pytest.mark.parametrize("position_s, watched", [(0, False), (5399, False), (5400, True), (6000, True)])
def test_nine_tenths_are_watched(position_s, watched):
    assert (progress.normalize_report(FILM, position_s, None, NOON, NOON).watched_at is not None) == watched


@pytest.mark.parametrize("position_s, watched", [(4999, False), (5000, True)])
def test_where_the_credits_are_known_they_are_the_end(position_s, watched):
    assert (progress.normalize_report(WITH_CREDITS, position_s, None, NOON, NOON).watched_at is not None) == watched


def test_late_credits_put_the_end_off():
    assert not progress.reaches_end(5500, 6000, credits_s=5800)


def test_credits_after_the_end_are_a_mistake_and_do_not_count():
    assert progress.reaches_end(5400, 6000, credits_s=9000)


def test_the_players_own_duration_counts_before_the_catalogues():
    assert progress.normalize_report(FILM, 2750, 3000, NOON, NOON).watched_at == NOON


def test_nothing_is_watched_by_position_where_no_duration_is_known():
    assert not progress.reaches_end(90_000, None, None)


def test_a_position_behind_the_end_is_the_end():
    assert progress.normalize_report(FILM, 9999, None, NOON, NOON).position_s == 6000


def test_a_clock_that_runs_ahead_counts_as_now():
    told = progress.normalize_report(FILM, 100, None, NOON + timedelta(days=9000), NOON)
    assert (told.at, told.claimed_at) == (NOON, NOON + timedelta(days=9000))


@pytest.mark.parametrize(
    "position_s, duration_s, begun",
    [(29, 6000, False), (30, 6000, True), (9, 200, False), (10, 200, True), (30, None, True)],
)
def test_half_a_minute_is_a_beginning_and_less_in_a_short_film(position_s, duration_s, begun):
    assert progress.is_started(position_s, duration_s) == begun


def test_one_goes_on_where_one_stopped():
    assert progress.resume_position_s(1800, 6000, None, None) == 1800


def test_who_watched_to_the_end_begins_anew():
    assert progress.resume_position_s(5900, 6000, NOON, None) == 0


def test_who_began_again_goes_on_from_there():
    assert progress.resume_position_s(1800, 6000, NOON, NOON + timedelta(hours=1)) == 1800


def test_what_plays_counts_as_watched_and_what_rests_does_not():
    later = NOON + timedelta(seconds=30)
    assert [streaming.watched_seconds(state, NOON, later) for state in ("playing", "paused", "buffering")] == [30, 0, 0]


def test_a_silence_counts_as_no_more_than_a_stream_lives_without_word():
    assert streaming.watched_seconds("playing", NOON, NOON + timedelta(days=1)) == 90


def test_a_clock_that_jumped_back_takes_nothing_away():
    assert streaming.watched_seconds("playing", NOON, NOON - timedelta(hours=1)) == 0


@pytest.mark.parametrize(
    "plan, asked, height", [(1080, None, 1080), (1080, 720, 720), (720, 2160, 720), (None, None, None)]
)
def test_the_picture_is_as_tall_as_plan_and_player_both_allow(plan, asked, height):
    assert streaming.allowed_height(plan, asked) == height


def test_every_refusal_of_the_access_rules_has_its_problem():
    from streamsvc.rules.playback.access import TitleFacts, ViewerFacts, access_checks

    codes = {check.code for check in access_checks(TitleFacts(), ViewerFacts(), NOON)}
    assert codes == set(streaming.REFUSAL_BY_CODE)
