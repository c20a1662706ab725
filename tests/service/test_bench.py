"""What `make bench` calls works with every kind of response: those of Flask, and of hot reads."""

import pytest

from bench.__main__ import cpu_time_us
from bench.hot_paths import Request, call_app


@pytest.mark.one_database
@pytest.mark.parametrize("path", ["/v1/plans", "/livez"])
def test_a_bench_calls_the_app(app, path):
    status, body = call_app(app, Request("GET", path).environ())
    assert (status, body[:1]) == ("200 OK", b"{")
    assert cpu_time_us(app, [Request("GET", path)]) > 0
