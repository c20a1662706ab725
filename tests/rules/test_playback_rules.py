from datetime import UTC, datetime, timedelta

import pytest

from streamsvc.rules.playback import progress, stream_rules
from streamsvc.rules.playback.progress import PlayableItem, ProgressPolicy, ReportTime, StreamClock

NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)
POLICY, NOW = ProgressPolicy(), ReportTime(NOON, NOON)
TTL, MINUTE = timedelta(seconds=90), timedelta(minutes=1)
FILM = PlayableItem("ttl_1", "ttl_1", runtime_s=6000)
WITH_CREDITS = PlayableItem("ttl_1", "ttl_1", runtime_s=6000, credits_s=5000)


@pytest.mark.parametrize("position_s, watched", [(0, False), (5399, False), (5400, True), (6000, True)])
def test_nine_tenths_count_as_watched(position_s, watched):
    assert (progress.normalize_report(FILM, position_s, None, NOW, POLICY).watched_at is not None) == watched


@pytest.mark.parametrize("position_s, watched", [(4999, False), (5000, True)])
def test_known_credits_are_the_end(position_s, watched):
    assert (progress.normalize_report(WITH_CREDITS, position_s, None, NOW, POLICY).watched_at is not None) == watched


def test_late_credits_delay_the_end():
    assert not progress.reaches_end(5500, 6000, 5800, POLICY)
    assert not progress.reaches_end(5999, 6000, 6000, POLICY)


def test_credits_after_the_end_are_ignored():
    assert progress.reaches_end(5400, 6000, 9000, POLICY)


def test_the_players_duration_takes_precedence():
    assert progress.normalize_report(FILM, 2750, 3000, NOW, POLICY).watched_at == NOON


def test_without_a_duration_nothing_counts_as_watched():
    assert not progress.reaches_end(90_000, None, None, POLICY)


def test_a_position_after_the_end_is_the_end():
    assert progress.normalize_report(FILM, 9999, None, NOW, POLICY).position_s == 6000


def test_the_end_is_the_end_at_any_position():
    report = progress.normalize_report(PlayableItem("ttl_1", "ttl_1"), 20, None, NOW, POLICY, ended=True)
    assert (report.watched_at, report.position_s) == (NOON, 20)


def test_the_thresholds_are_the_policys():
    strict = ProgressPolicy(watched_percent=95, resume_after_s=60, resume_after_percent=10)
    assert not progress.reaches_end(5699, 6000, None, strict)
    assert progress.reaches_end(5700, 6000, None, strict)
    assert [progress.is_started(s, 6000, strict) for s in (59, 60)] == [False, True]
    assert [progress.is_started(s, 300, strict) for s in (29, 30)] == [False, True]


def test_a_clock_that_runs_ahead_counts_as_now():
    ahead = NOON + timedelta(days=9000)
    assert progress.date_report(ahead, None, "ses_1", NOON) == (NOON, ahead, "ses_1")
    assert progress.date_report(NOON, None, "ses_1", NOON) == (NOON, NOON, None)


@pytest.mark.parametrize("error", [timedelta(hours=-3), timedelta(), timedelta(days=365)])
@pytest.mark.parametrize(("age", "at"), [(5 * MINUTE, NOON - 5 * MINUTE), (-MINUTE, NOON)])
def test_a_report_with_its_time_of_sending_is_as_old_as_the_player_says(error, age, at):
    sent_at = NOON + error
    assert progress.date_report(sent_at - age, sent_at, "ses_1", NOON) == (at, at, None)


def player(claimed_at=NOON - MINUTE, is_live=True):
    """A stream of an hour whose latest heartbeat arrived a minute ago."""
    return StreamClock(NOON - timedelta(hours=1), claimed_at, NOON - MINUTE, TTL, is_live)


@pytest.mark.parametrize("is_live", [True, False])
@pytest.mark.parametrize(
    ("claimed_at", "seconds_ago"),
    [
        (NOON, (0, 0)),
        (NOON - MINUTE, (0, 60)),
        (NOON - MINUTE - timedelta(seconds=1), (61, 61)),
        (NOON - MINUTE - TTL, (150, 150)),
        (NOON - MINUTE - TTL - timedelta(seconds=1), (0, 151)),  # a clock that was set back
        (NOON - timedelta(hours=1, seconds=30), (0, 3600)),  # not before the stream
        (NOON - timedelta(hours=1) - TTL, (0, 3600)),
        (NOON - timedelta(hours=1, seconds=1) - TTL, (0, 0)),
        (NOON - timedelta(hours=5), (0, 0)),  # before there was a stream: a clock that was set back
        (NOON + timedelta(hours=5), (0, 0)),  # not in the future
        (None, (0, 60)),
    ],
)
def test_a_heartbeat_is_dated_by_its_arrival_unless_it_is_late(is_live, claimed_at, seconds_ago):
    expected = NOON - timedelta(seconds=seconds_ago[0 if is_live else 1])
    assert progress.date_heartbeat(claimed_at, player(is_live=is_live), NOON) == expected


@pytest.mark.parametrize(("is_live", "at"), [(True, NOON), (False, NOON - 5 * MINUTE)])
def test_without_an_earlier_heartbeat_the_player_is_believed_only_once_the_stream_has_ended(is_live, at):
    assert progress.date_heartbeat(NOON - 5 * MINUTE, player(None, is_live), NOON) == at


def test_a_heartbeat_by_a_clock_that_was_set_back_does_not_rewind_what_was_watched_since():
    stream = player(is_live=False)._replace(seen_at=NOON - MINUTE - TTL)
    assert progress.date_heartbeat(NOON - timedelta(hours=5), stream, NOON) == stream.seen_at


@pytest.mark.parametrize(
    ("age_s", "ahead", "is_sent_before"),
    [
        (5, TTL + timedelta(seconds=1), True),
        (5, timedelta(hours=3), True),
        (6, timedelta(hours=3), False),
        (5, TTL, False),
    ],
)
def test_a_heartbeat_from_much_later_right_after_the_latest_was_sent_before_a_clock_was_set_back(
    age_s, ahead, is_sent_before
):
    seen_at = NOON - timedelta(seconds=age_s)
    stream = player(NOON - timedelta(hours=3))._replace(seen_at=seen_at)
    claimed_at = stream.claimed_at + ahead
    assert progress.is_overtaken(claimed_at, stream, NOON) is is_sent_before
    assert progress.date_heartbeat(claimed_at, stream, NOON) == (seen_at if is_sent_before else NOON)


@pytest.mark.parametrize(("first", "second", "at"), [(9000, 1900, NOON), (1900, 9000, NOON)])
def test_a_clock_that_jumps_by_millennia_dates_a_heartbeat_within_its_stream(first, second, at):
    stream = player(datetime(first, 12, 31, tzinfo=UTC), is_live=False)
    assert progress.date_heartbeat(datetime(second, 1, 1, tzinfo=UTC), stream, NOON) == at


@pytest.mark.parametrize(
    "position_s, duration_s, begun",
    [(29, 6000, False), (30, 6000, True), (9, 200, False), (10, 200, True), (30, None, True)],
)
def test_an_item_is_started_after_half_a_minute_or_less_if_short(position_s, duration_s, begun):
    assert progress.is_started(position_s, duration_s, POLICY) == begun


def test_playback_resumes_where_it_stopped():
    assert progress.resume_position_s(1800, 6000, None, None, POLICY) == 1800


def test_a_finished_item_resumes_at_the_start():
    assert progress.resume_position_s(5900, 6000, NOON, None, POLICY) == 0


def test_a_restarted_item_resumes_where_it_stopped():
    assert progress.resume_position_s(1800, 6000, NOON, NOON + timedelta(hours=1), POLICY) == 1800


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
    from streamsvc.rules.playback.access import ProgrammeFacts, TitleFacts, ViewerFacts, access_checks

    item = TitleFacts(programme=ProgrammeFacts(), shares_media=True)
    codes = {check.code for check in access_checks(item, ViewerFacts(), NOON)}
    assert codes == set(stream_rules.REFUSAL_BY_CODE)
