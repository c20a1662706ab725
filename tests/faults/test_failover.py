"""The primary dies and its standby is promoted: the service goes on by itself, with all it had acknowledged."""

import os
import signal
import time

import pytest

from tests.worlds.acknowledged_writes import AcknowledgedWrites, put_on_sale
from tests.worlds.service import running_service, wait_until
from tests.worlds.standby import execute, has_programs, kill, primary_and_standby, replicate_synchronously

pytestmark = [
    pytest.mark.one_database,
    pytest.mark.skipif(not has_programs(), reason="PostgreSQL's pg_basebackup is missing"),
]
RECOVERY_S = 20
"""How long the service may take to write again after the promotion, on a busy machine."""
SECRET_KEY = "one secret for the test and the service"


@pytest.fixture
def servers():
    with primary_and_standby() as (primary, standby):
        execute(primary.url.format("postgres"), "CREATE DATABASE tv")
        primary.on_sale = put_on_sale(primary.url.format("tv"), SECRET_KEY)
        yield primary, standby


@pytest.fixture
def service(servers, tmp_path):
    hosts = "&".join(f"host={server.folder}" for server in servers)
    url = f"postgresql://postgres@/tv?{hosts}&target_session_attrs=read-write"
    settings = {"LOGIN_THROTTLE": "0", "SECRET_KEY": SECRET_KEY, "WORKERS": "1"}
    with running_service(url, tmp_path, **{f"STREAMSVC_{name}": value for name, value in settings.items()}) as service:
        yield service


def fail_over(service, servers, before=lambda: None):
    """Kill the primary under load and promote the standby; returns the writes, and the longest gap between two."""
    primary, standby = servers
    with AcknowledgedWrites(service.call, *primary.on_sale, threads=2) as writes:
        wait_until(lambda: min(map(len, writes.ids.values())) >= 5)
        before()
        time.sleep(1)
        kill(primary)
        killed_at = time.monotonic()
        standby.promote()
        count = len(writes.ids["payments"])
        wait_until(lambda: len(writes.ids["payments"]) >= count + 5)
        gap_s = writes.longest_gap_s(killed_at)
    return writes, gap_s


def test_no_acknowledged_write_is_lost_if_replication_is_synchronous(service, servers):
    replicate_synchronously(servers[0])
    writes, gap_s = fail_over(service, servers)
    assert writes.find_lost(servers[1].url.format("tv")) == {"accounts": 0, "payments": 0, "progress": 0}
    assert gap_s < RECOVERY_S
    assert {status for status, _ in writes.failures} <= {0, 409, 503}, writes.failures
    wait_until(service.is_ready)


def test_without_synchronous_replication_the_last_writes_are_lost_and_the_service_goes_on(service, servers):
    """The standby receives nothing in the last second before the primary dies."""

    def hold_back():
        [sender] = execute(servers[0].url.format("postgres"), "SELECT pid FROM pg_stat_replication")[0]
        os.kill(sender, signal.SIGSTOP)

    writes, gap_s = fail_over(service, servers, hold_back)
    lost = writes.find_lost(servers[1].url.format("tv"))
    assert min(lost.values()) > 0 and all(lost[kind] < len(writes.ids[kind]) for kind in lost)
    assert gap_s < RECOVERY_S
