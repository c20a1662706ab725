"""Add-ons as items: quantity, trial, end, and plans that include them; 300 a month is 10 a day in April."""

from collections import Counter
from datetime import UTC, date, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from streamsvc.rules.billing import facts as fact
from streamsvc.rules.billing.addons import granted_units
from streamsvc.rules.billing.calendar import Interval
from streamsvc.rules.billing.entitlements import Grant, compute_entitlements
from streamsvc.rules.billing.lines import replay_timeline

MONTH = Interval("month")
BASE, LARGE = fact.PriceTerms("base", 3000, MONTH), fact.PriceTerms("large", 6000, MONTH)
PACK = fact.PriceTerms("pack", 300, MONTH)
FIRST, MAY, JUNE = date(2026, 4, 1), date(2026, 5, 1), date(2026, 6, 1)


def april(day):
    return date(2026, 4, day)


def replay(*events, until=date(2026, 4, 30), **more):
    return replay_timeline(fact.Facts((fact.Started("e0", FIRST, BASE, FIRST, **more), *events)), until)


def pack_lines(timeline):
    """Return (kind, first day, day after the last, units, amount) of the add-on's lines."""
    return [
        (line.kind, line.period.start, line.period.end, line.quantity, line.amount_minor)
        for line in timeline.lines
        if line.item == "pack"
    ]


def added(ref="e1", on=FIRST, **more):
    return fact.AddonAdded(ref, on, "pack", PACK, **more)


def test_each_unit_of_an_addon_is_charged():
    timeline = replay(added(on=april(16), quantity=3), until=MAY)
    assert pack_lines(timeline) == [("charge", april(16), MAY, 3, 450), ("charge", MAY, JUNE, 3, 900)]


def test_more_units_are_charged_from_today_and_fewer_credited_from_tomorrow():
    more = fact.AddonQuantityChanged("e2", april(11), "pack", 3, april(11))
    fewer = fact.AddonQuantityChanged("e3", april(20), "pack", 1, april(21))
    timeline = replay(added(), more, fewer, until=MAY)
    assert pack_lines(timeline) == [
        ("charge", FIRST, MAY, 1, 300),
        ("charge", april(11), MAY, 2, 400),
        ("credit", april(21), MAY, 2, -200),
        ("charge", MAY, JUNE, 1, 300),
    ]


def test_units_given_up_and_taken_again_on_one_day_are_not_charged_twice_for_it():
    fewer = fact.AddonQuantityChanged("e2", april(20), "pack", 1, april(21))
    more = fact.AddonQuantityChanged("e3", april(20), "pack", 5, april(20))
    assert pack_lines(replay(added(quantity=3), fewer, more))[1:] == [
        ("credit", april(21), MAY, 2, -200),
        ("charge", april(20), april(21), 2, 20),
        ("charge", april(21), MAY, 4, 400),
    ]


def test_units_bought_at_different_times_are_credited_on_lines_of_their_own():
    more = fact.AddonQuantityChanged("e2", april(11), "pack", 2, april(11))
    removed = fact.AddonRemoved("e3", april(20), "pack", april(21))
    timeline = replay(added(), more, removed, until=MAY)
    assert pack_lines(timeline)[2:] == [("credit", april(21), MAY, 1, -100)] * 2
    identities = [line.identity for line in timeline.lines]
    assert len(set(identities)) == len(identities)


def test_an_addon_is_charged_when_its_own_trial_ends():
    timeline = replay(added(on=april(11), trial_days=10), until=april(20))
    assert pack_lines(timeline) == [("trial", april(11), april(21), 1, 0)]
    assert timeline.next_due_on == april(21)
    timeline = replay(added(on=april(11), trial_days=10), until=MAY)
    assert pack_lines(timeline)[1:] == [("charge", april(21), MAY, 1, 100), ("charge", MAY, JUNE, 1, 300)]


def test_an_addon_whose_trial_ends_in_a_later_period_is_not_in_the_renewal():
    timeline = replay(added(on=april(21), trial_days=20), until=JUNE)
    assert pack_lines(timeline)[1:] == [
        ("charge", date(2026, 5, 11), JUNE, 1, 203),
        ("charge", JUNE, date(2026, 7, 1), 1, 300),
    ]


def test_an_addon_removed_in_its_trial_ends_with_the_trial_and_costs_nothing():
    scheduled = fact.AddonRemovalScheduled("e2", april(12), "pack")
    timeline = replay(added(on=april(11), trial_days=10), scheduled, until=JUNE)
    assert [line[0] for line in pack_lines(timeline)] == ["trial"]
    assert timeline.addon_end(timeline.addons["pack"]) == april(21)


def test_a_pause_postpones_the_end_of_a_trial():
    paused, resumed = fact.Paused("e2", april(12)), fact.Resumed("e3", april(17))
    timeline = replay(added(on=april(11), trial_days=10), paused, resumed, until=MAY)
    assert timeline.addons["pack"].trial_end == april(26)
    assert pack_lines(timeline)[1] == ("charge", april(26), date(2026, 5, 6), 1, 100)


def test_an_addon_with_an_end_date_is_charged_up_to_it():
    until_may = added(ends_on=date(2026, 5, 11))
    assert pack_lines(replay(until_may, until=JUNE)) == [
        ("charge", FIRST, MAY, 1, 300),
        ("charge", MAY, date(2026, 5, 11), 1, 97),
    ]
    later = fact.AddonEndSet("e2", date(2026, 5, 5), "pack", date(2026, 5, 21))
    assert pack_lines(replay(until_may, later, until=JUNE))[2:] == [
        ("charge", date(2026, 5, 11), date(2026, 5, 21), 1, 97)
    ]


def test_a_scheduled_removal_can_be_withdrawn_and_moves_with_a_pause():
    scheduled, paused = fact.AddonRemovalScheduled("e2", april(5), "pack"), fact.Paused("e3", april(10))
    resumed, dropped = fact.Resumed("e4", april(15)), fact.AddonRemovalDropped("e5", april(16), "pack")
    timeline = replay(added(), scheduled, paused, resumed)
    assert timeline.addon_end(timeline.addons["pack"]) == date(2026, 5, 6)
    assert len(pack_lines(replay(added(), scheduled, paused, resumed, until=date(2026, 5, 6)))) == 1
    assert len(pack_lines(replay(added(), scheduled, paused, resumed, dropped, until=date(2026, 5, 6)))) == 2


def test_an_addon_becomes_part_of_a_plan_that_includes_it():
    changed = fact.PriceChanged("e2", april(16), LARGE, april(16), includes=("pack",))
    timeline = replay(added(quantity=2), changed, until=MAY)
    assert pack_lines(timeline) == [("charge", FIRST, MAY, 2, 600), ("credit", april(16), MAY, 2, -300)]
    planned = fact.PriceScheduled("e2", april(16), LARGE, april(16), includes=("pack",))
    timeline = replay(added(), planned, until=MAY)
    assert (pack_lines(timeline), timeline.included_addons) == ([("charge", FIRST, MAY, 1, 300)], [("pack", MAY)])
    undone = fact.Reverted("e3", april(16), "e2")
    assert len(pack_lines(replay(added(), changed, undone, until=MAY))) == 2


def test_an_addon_of_a_subscription_that_starts_later_is_not_charged_before():
    started = fact.Started("e0", FIRST, BASE, april(11))
    timeline = replay_timeline(fact.Facts((started, added())), april(11))
    assert pack_lines(timeline) == [("charge", april(11), date(2026, 5, 11), 1, 300)]


# A life of an add-on: what is done on which day after the one before it.
steps = st.lists(
    st.tuples(
        st.integers(0, 12),
        st.sampled_from(["quantity", "remove", "schedule", "drop", "pause", "end", "plan"]),
        st.integers(1, 6),
    ),
    max_size=12,
)


class AddonLife:
    """A subscription whose add-on is changed in any order, with the steps that the service itself takes."""

    def __init__(self, price, trial_days):
        self.price, self.trial_days, self.day, self.paused = price, trial_days, FIRST, False
        self.events = [fact.Started("e0", FIRST, BASE, FIRST)]

    def replay(self):
        return replay_timeline(fact.Facts(tuple(self.events)), self.day)

    def record(self, event_type, *details):
        self.events.append(event_type(f"e{len(self.events)}", self.day, *details))

    def find_addon(self):
        """Return the add-on, if there is one; remove it first if its end has come."""
        timeline = self.replay()
        addon = next(iter(timeline.billed_addons), None)
        if addon and (end := timeline.addon_end(addon)) and end <= self.day:
            self.record(fact.AddonRemoved, "pack", min(end, timeline.paused_on or end))
            return None
        return addon

    def take_step(self, days, what, quantity):
        self.day += timedelta(days=days)
        addon, end, tomorrow = self.find_addon(), self.day + timedelta(days=quantity * 9), self.day + timedelta(days=1)
        if what == "pause":
            self.record(fact.Resumed if self.paused else fact.Paused)
            self.paused = not self.paused
        elif self.paused:
            return
        elif addon is None:
            is_first = not any(isinstance(event, fact.AddonAdded) for event in self.events)
            trial_days = self.trial_days if is_first else 0
            self.record(fact.AddonAdded, "pack", self.price, quantity, trial_days, end if what == "end" else None)
        elif what == "quantity":
            effective = tomorrow if quantity < addon.quantity else self.day
            self.record(fact.AddonQuantityChanged, "pack", quantity, effective)
        elif what == "remove":
            self.record(fact.AddonRemoved, "pack", tomorrow)
        elif what == "end":
            self.record(fact.AddonEndSet, "pack", end)
        elif what == "plan":
            self.record(fact.PriceChanged, LARGE, self.day, None, ("pack",) if quantity > 4 else ())
        else:
            self.record(fact.AddonRemovalScheduled if what == "schedule" else fact.AddonRemovalDropped, "pack")


@settings(max_examples=300, deadline=None)
@given(steps, st.integers(0, 40), st.integers(0, 5_000))
def test_the_days_paid_are_the_days_granted_whatever_happens(steps, trial_days, amount):
    """On each day to come exactly the granted units are paid, and what comes back was paid before."""
    life = AddonLife(fact.PriceTerms("pack", amount, MONTH), trial_days)
    for step in steps:
        life.take_step(*step)
        timeline = life.replay()
        check_paid_units(timeline, life.day + timedelta(days=1))
        check_money(timeline)


def check_paid_units(timeline, tomorrow):
    grants = granted_units(timeline.billed_addons, [], timeline.paid_end, tomorrow)
    addon = timeline.addons.get("pack")
    for n in range((timeline.paid_end - tomorrow).days):
        day = tomorrow + timedelta(days=n)
        paid = sum(
            span.quantity for span in timeline.paid.spans if span.item == "pack" and span.start <= day < span.end
        )
        granted = sum(grant.quantity for grant in grants if grant.until is None or day < grant.until)
        in_trial = addon and addon.charged_from and day < addon.charged_from
        is_later = addon and addon.charged_from and not in_trial  # charged on the day on which the trial ends
        ends_early = addon and addon.ends_on and day >= addon.ends_on  # credited on that day
        assert paid == granted or in_trial or is_later or ends_early, (day, paid, granted)


def check_money(timeline):
    identities = [line.identity for line in timeline.lines]
    assert len(set(identities)) == len(identities)
    sums = Counter()
    for line in timeline.lines:
        sums[line.credited_identity or line.identity] += line.amount_minor
    assert all(amount >= 0 for amount in sums.values())


PLAN = {"max_streams": 2, "max_height": 1080, "max_profiles": 5, "max_devices": 5, "downloads": False, "ads": True}
NOW = datetime(2026, 4, 1, tzinfo=UTC)


def entitlements(*grants, **features):
    return compute_entitlements("active", None, "p", PLAN, NOW, grants, {"pack": features})


def test_an_addon_adds_its_features_to_those_of_the_plan_per_unit():
    granted = entitlements(Grant("pack", 3), max_streams=1, max_profiles=2, max_height=2160, downloads=True, ads=False)
    assert [granted[name] for name in ("max_streams", "max_profiles", "max_devices")] == [5, 11, 5]
    assert [granted[name] for name in ("max_height", "downloads", "ads")] == [2160, True, False]
    plain = entitlements(Grant("pack", 3))
    assert {name: plain[name] for name in PLAN} == PLAN


def test_an_addon_counts_until_its_end_and_the_largest_grant_of_it_applies():
    ended = Grant("pack", 5, NOW)
    ending = Grant("pack", 3, NOW + timedelta(seconds=1))
    assert entitlements(ended, max_streams=1)["max_streams"] == 2
    assert entitlements(ended, ending, Grant("pack"), max_streams=1)["max_streams"] == 5
    assert compute_entitlements("paused", None, "p", PLAN, NOW, [Grant("pack")], {"pack": {}})["max_streams"] == 0
