from datetime import date

import pytest

from streamsvc.rules.billing.dunning import DunningSchedule

EIGHT_DAYS = DunningSchedule(retry_days=(8, 16, 24, 32, 40), warn_day=30, suspend_day=40, cancel_day=50)
FAILED = date(2012, 5, 31)


@pytest.mark.parametrize(
    ("today", "stage"),
    [
        (date(2012, 6, 29), "grace"),
        (date(2012, 6, 30), "warned"),
        (date(2012, 7, 10), "suspended"),
        (date(2012, 7, 20), "over"),
    ],
)
def test_the_stage_follows_the_age_of_the_earliest_unpaid_invoice(today, stage):
    """KB-027."""
    assert EIGHT_DAYS.stage(FAILED, today) == stage
    assert EIGHT_DAYS.stage(None, today) == "clear"


def test_a_soft_decline_is_retried_on_the_days_of_the_schedule():
    retries, today = [], FAILED
    while (today := EIGHT_DAYS.next_retry_on(FAILED, today, "insufficient_funds")) is not None:
        retries.append(str(today))
    assert retries == ["2012-06-08", "2012-06-16", "2012-06-24", "2012-07-02", "2012-07-10"]


@pytest.mark.parametrize(
    "code",
    "stolen_card lost_card pickup_card fraudulent invalid_account incorrect_number payment_method_required "
    "authentication_required revocation_of_authorization".split(),
)
def test_a_hard_decline_waits_for_the_customer(code):
    """ST-011."""
    assert EIGHT_DAYS.next_retry_on(FAILED, FAILED, code) is None


def test_a_decline_code_can_have_its_own_retry_days():
    schedule = DunningSchedule.parse(
        "retry=1,3 retry.insufficient_funds=9,2 retry.expired_card=never warn=0 suspend=7 cancel=21"
    )
    first = {
        code: schedule.next_retry_on(FAILED, FAILED, code) for code in ("insufficient_funds", "expired_card", None)
    }
    assert first == {"insufficient_funds": date(2012, 6, 2), "expired_card": None, None: date(2012, 6, 1)}
    assert schedule.next_retry_on(FAILED, date(2012, 6, 2), "insufficient_funds") == date(2012, 6, 9)
    assert schedule.next_retry_on(FAILED, FAILED, "stolen_card") is None
