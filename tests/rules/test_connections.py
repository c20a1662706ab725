"""How many connections to PostgreSQL a node opens."""

from streamsvc.rules.connections import node_connections, pool_limits, process_connections


def test_the_pools_are_as_large_as_the_busiest_process_needs():
    """The worker has eight threads, however few a web process has."""
    assert pool_limits(4) == pool_limits(8) == (10, 20)
    assert pool_limits(16) == (18, 36)
    assert process_connections(16) == 55
    assert node_connections(3, 16) == 4 * 55
