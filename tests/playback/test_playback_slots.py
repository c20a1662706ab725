"""The stream limit holds under concurrent requests."""

import os
import threading

import pytest
import sqlalchemy as sa

from streamsvc.models import Device, Session, Stream
from streamsvc.operations.playback import device_places, streams
from streamsvc.operations.playback.streams import StreamLimits
from streamsvc.rules.playback.stream_rules import DeviceLimits
from streamsvc.rules.refusals.access import NotSignedIn
from streamsvc.rules.refusals.playback import DeviceLimit, StreamLimit
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.storage.database import db
from tests.conftest import NOON
from tests.worlds.playback_steps import TWO, new_account, new_session, stream_request
from tests.worlds.sent_statements import sent_statements

pytestmark = pytest.mark.every_database

WRITERS = 8
ROUNDS = int(os.environ.get("STREAMSVC_TEST_ROUNDS", "20"))


@pytest.fixture(autouse=True)
def app_context(app):
    with app.app_context():
        yield
        db.session.remove()


@pytest.fixture
def home(app):
    """A household of four signed-in devices: `home(0)` starts a stream on the first."""
    account_id, (profile_id,) = new_account(NOON)
    devices = [new_session(account_id, NOON) for _ in range(4)]

    def play(device, item_id="ttl_1", limits=TWO, replace=None, now=NOON):
        request = stream_request(account_id, profile_id, *devices[device], item_id)
        return streams.claim_stream(request, limits, replace, now)

    play.account_id, play.devices = account_id, devices
    return play


def ended(stream_id):
    return db.session.execute(sa.select(Stream.ended_at, Stream.end_reason).where(Stream.id == stream_id)).one()


def test_streams_start_up_to_the_limit_and_return_the_live_count(home):
    assert [home(0)[1], home(1)[1]] == [1, 2]


def test_a_claim_beyond_the_limit_is_refused_with_the_live_streams(home):
    first, second = home(0)[0], home(1)[0]
    with pytest.raises(StreamLimit) as refused:
        home(2)
    assert refused.value.members["limit"] == 2
    assert [stream["stream_id"] for stream in refused.value.members["streams"]] == [first, second]


def test_a_stream_can_replace_another(home):
    first, _ = home(0)[0], home(1)[0]
    assert home(2, replace=first)[1] == 2
    assert ended(first) == (NOON, "replaced")


def test_replacing_a_stream_ends_it_even_if_a_slot_is_free(home):
    first, _ = home(0)
    assert home(0, "ttl_2", replace=first)[1] == 1
    assert ended(first) == (NOON, "replaced")


def test_replacing_a_stream_of_another_account_frees_nothing(home):
    home(0), home(1)
    with pytest.raises(StreamLimit):
        home(2, replace="str_of_another_account")


def test_restarting_an_item_on_a_device_replaces_its_stream(home):
    home(0)
    first = home(1)[0]
    again, current = home(1)
    assert (again != first, current, ended(first).end_reason) == (True, 2, "taken_over")


def test_two_items_on_one_device_are_two_streams(home):
    home(0, "ttl_1"), home(0, "ttl_2")
    with pytest.raises(StreamLimit):
        home(0, "ttl_3")


def test_a_stream_without_heartbeats_frees_its_slot(home, clock):
    home(0), home(1)
    clock.advance(seconds=90)
    assert home(2, now=clock())[1] == 1


@pytest.mark.parametrize("seconds", [90, 600])
def test_a_stream_expired_before_its_takeover_ended_when_it_expired(home, clock, seconds):
    first = home(0)[0]
    clock.advance(seconds=seconds)
    home(0, now=clock())
    assert ended(first).end_reason == "expired"
    assert (ended(first).ended_at - NOON).total_seconds() == 90


def test_an_ended_session_frees_its_slots(home, app):
    home(0), home(1)
    db.session.execute(sa.update(Session).where(Session.id == home.devices[0][0]).values(ended_at=NOON))
    db.session.commit()
    assert home(2)[1] == 2


def test_a_new_device_beyond_the_limit_is_refused_with_the_known_devices(home):
    one = StreamLimits(streams=5, devices=DeviceLimits(1))
    home(0, limits=one)
    with pytest.raises(DeviceLimit) as refused:
        home(1, limits=one)
    assert [device["id"] for device in refused.value.members["devices"]] == [home.devices[0][1]]
    assert home(0, "ttl_2", limits=one)[1] == 2


def test_a_device_removed_during_its_claim_evicts_no_other(home):
    one = StreamLimits(streams=2, devices=DeviceLimits(1), evicts_devices=True)
    home(0, limits=one)
    db.session.execute(sa.update(Device).where(Device.id == home.devices[1][1]).values(removed_at=NOON))
    db.session.commit()
    with pytest.raises(NotFound):
        home(1, limits=one)
    [known] = device_places.list_stream_devices(home.account_id, NOON)
    assert known.device_id == home.devices[0][1]


def test_a_refused_device_does_not_count(home):
    one = StreamLimits(streams=1, devices=DeviceLimits(2))
    home(0, limits=one)
    with pytest.raises(StreamLimit):
        home(1, limits=one)
    assert home(2, limits=StreamLimits(streams=5, devices=DeviceLimits(2)))[1] == 2


def test_a_device_unused_for_a_month_no_longer_counts(home, clock):
    one = StreamLimits(streams=1, devices=DeviceLimits(1))
    home(0, limits=one)
    clock.advance(days=30)
    assert home(1, limits=one, now=clock())[1] == 1


@pytest.mark.parametrize(("seconds", "is_recorded"), [(-1, False), (0, True)])
def test_a_devices_last_playback_is_recorded_to_the_day(home, clock, seconds, is_recorded):
    home(0), home(1)
    clock.advance(days=1, seconds=seconds)
    home(0, "ttl_2", now=clock())
    used, unused = device_places.list_stream_devices(home.account_id, clock())
    assert used.last_played_at == (clock() if is_recorded else NOON)
    assert unused.last_played_at == NOON


def test_a_device_that_plays_elsewhere_under_its_id_is_new_to_an_account(home, app):
    other_id, (profile_id,) = new_account(NOON)
    session_id, shared_id = new_session(other_id, NOON)[0], home.devices[0][1]
    streams.claim_stream(stream_request(other_id, profile_id, session_id, shared_id), TWO, None, NOON)
    one = StreamLimits(streams=5, devices=DeviceLimits(1))
    home(1, limits=one)
    with pytest.raises(DeviceLimit):
        home(0, limits=one)
    assert home(0)[1] == 2
    with sent_statements(app) as sent:
        assert home(0, "ttl_2", limits=StreamLimits(streams=3, devices=DeviceLimits(2)))[1] == 3
    assert len(sent) == (1 if db.engine.dialect.name == "sqlite" else 2), "the claim, and on PostgreSQL its lock"
    assert [stream.account_id for stream in streams.list_live_streams(other_id, NOON)] == [other_id]


def test_eight_concurrent_new_devices_admit_as_many_as_are_evicted(app):
    account_id, (profile_id,) = new_account(NOON)
    old, new = ([new_session(account_id, NOON) for _ in range(n)] for n in (2, WRITERS))
    two = StreamLimits(streams=50, devices=DeviceLimits(2), evicts_devices=True)
    for session in old:
        streams.claim_stream(stream_request(account_id, profile_id, *session), two, None, NOON)
        streams.end_streams(account_id, NOON, "stopped")
    outcomes, barrier = [], threading.Barrier(WRITERS)

    def work(session):
        with app.app_context():
            barrier.wait()
            try:
                streams.claim_stream(stream_request(account_id, profile_id, *session), two, None, NOON)
                outcomes.append("started")
            except DeviceLimit:
                outcomes.append("refused")
            db.session.remove()

    threads = [threading.Thread(target=work, args=(session,)) for session in new]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert sorted(outcomes) == ["refused"] * (WRITERS - 2) + ["started"] * 2
    evicted = db.session.scalars(sa.select(Session.device_id).where(Session.ended_at.is_not(None)))
    assert sorted(evicted) == sorted(device_id for _, device_id in old)
    db.session.rollback()
    assert len(device_places.list_stream_devices(account_id, NOON)) == 2
    assert len(streams.list_live_streams(account_id, NOON)) == 2
    with pytest.raises(NotSignedIn):  # a device evicted during its claim evicts no other
        streams.claim_stream(stream_request(account_id, profile_id, *old[0]), two, None, NOON)


def max_live_streams(app, account_id, attempts):
    """Run the attempts in eight concurrent threads; return the maximum of live streams, and every outcome."""
    outcomes, most, barrier = [], [0], threading.Barrier(WRITERS)

    def work(own_attempts):
        with app.app_context():
            for attempt in own_attempts:
                barrier.wait()
                try:
                    attempt()
                    outcomes.append("started")
                except StreamLimit:
                    outcomes.append("refused")
                most[0] = max(most[0], len(streams.list_live_streams(account_id, NOON)))
                if barrier.wait() == 0:
                    streams.end_streams(account_id, NOON, "stopped")
                barrier.wait()
            db.session.remove()

    threads = [threading.Thread(target=work, args=(attempts(n),)) for n in range(WRITERS)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    return most[0], outcomes


@pytest.mark.parametrize("known", [True, False], ids=["known devices", "new devices"])
def test_eight_concurrent_claims_never_exceed_the_limit(app, home, known):
    account_id, (profile_id,) = new_account(NOON)
    devices = [new_session(account_id, NOON) for _ in range(WRITERS)]

    def attempts(n):
        for round_number in range(ROUNDS):
            name = devices[n][1] if known else f"{devices[n][1]}-{round_number}"
            request = stream_request(account_id, profile_id, devices[n][0], name, f"ttl_{round_number}")
            yield lambda request=request: streams.claim_stream(request, TWO, None, NOON)

    most, outcomes = max_live_streams(app, account_id, attempts)
    assert most == 2
    assert (outcomes.count("started"), len(outcomes)) == (2 * ROUNDS, WRITERS * ROUNDS)


def test_eight_concurrent_starts_of_one_item_on_one_device_leave_one_stream(app):
    account_id, (profile_id,) = new_account(NOON)
    session = new_session(account_id, NOON)

    def attempts(n):
        for round_number in range(ROUNDS):
            request = stream_request(account_id, profile_id, *session, f"ttl_{round_number}")
            yield lambda request=request: streams.claim_stream(request, TWO, None, NOON)

    most, outcomes = max_live_streams(app, account_id, attempts)
    assert (most, set(outcomes)) == (1, {"started"})
