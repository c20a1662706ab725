"""The delay that a webhook's receiver can ask for."""

from datetime import UTC, datetime, timedelta

from streamsvc.rules.webhooks import MAX_RETRY_AFTER, RETRY_DELAYS_S, next_attempt_at

NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)
USUAL_S = RETRY_DELAYS_S[2]


def delay_s(retry_after_s):
    return (next_attempt_at(2, NOON, retry_after_s) - NOON).total_seconds()


def test_a_receiver_can_ask_for_a_longer_delay_but_not_for_a_shorter_one():
    assert delay_s(USUAL_S + 1) == USUAL_S + 1
    assert delay_s(USUAL_S - 1) == delay_s(0) == delay_s(None) == USUAL_S


def test_the_first_attempt_is_made_at_once_unless_the_receiver_asks_otherwise():
    assert next_attempt_at(0, NOON) == NOON
    assert next_attempt_at(0, NOON, retry_after_s=1) == NOON + timedelta(seconds=1)


def test_a_receiver_cannot_ask_for_more_than_the_longest_delay():
    longest_s = MAX_RETRY_AFTER / timedelta(seconds=1)
    assert delay_s(longest_s - 1) == longest_s - 1
    assert delay_s(longest_s + 1) == longest_s


def test_a_receiver_cannot_ask_for_more_attempts():
    assert next_attempt_at(len(RETRY_DELAYS_S), NOON, retry_after_s=60) is None
