"""When a subscription of an app store is live, and what the store keeps."""

from datetime import UTC, datetime, timedelta

import pytest

from streamsvc.rules.billing.access import gives_access
from streamsvc.rules.stores.commission import compute_commission
from streamsvc.rules.stores.state import is_live

END = datetime(2026, 2, 14, 12, tzinfo=UTC)
MOMENT_BEFORE = END - timedelta(microseconds=1)


@pytest.mark.parametrize("status", ["active", "trialing"])
def test_a_subscription_that_does_not_renew_is_live_up_to_its_end_and_not_at_it(status):
    assert is_live(status, False, END, MOMENT_BEFORE)
    assert not is_live(status, False, END, END)
    assert not is_live(status, False, None, MOMENT_BEFORE)
    assert is_live(status, True, END, END), "a renewal is late"


def test_access_ends_at_its_end():
    assert gives_access("active", END, MOMENT_BEFORE)
    assert not gives_access("active", END, END)


@pytest.mark.parametrize(
    ("amount_minor", "percentages", "is_after_first_year", "commission_minor"),
    [(999, "30,15", False, 300), (999, "30,15", True, 150), (999, "15", False, 150), (999, "15", True, 150)],
)
def test_the_commission_is_rounded_half_up(amount_minor, percentages, is_after_first_year, commission_minor):
    assert compute_commission(amount_minor, percentages, is_after_first_year) == commission_minor


def test_half_a_minor_unit_of_commission_is_rounded_up():
    assert compute_commission(5, "30", False) == 2
    assert compute_commission(4, "30", False) == 1
