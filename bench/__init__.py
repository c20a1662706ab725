"""Benchmarks of the hot paths, as ratios to a bare Flask view that returns a constant of the same size.

    python -m bench                              both databases and servers, over loopback and in process; ten minutes
    python -m bench --database postgresql        one database
    python -m bench --only list,playback --rounds 7 --seconds 4
    python -m bench --database sqlite --only session,list,list-fresh,title     what the peers know
    python -m bench --peers ""                   no peers

It writes bench/results.md and bench/results.svg: each goal beside what was measured. Everything runs on the real demo
catalogue with 2,000 subscribed viewers, and with the sandbox off, whose clock costs a query per request.

Times are processor time, of all processes of a server per response, because other load on the machine does not count
in it; PostgreSQL's has a column of its own. In each round of a path, streamsvc on gunicorn and on Granian, the bare
view on three servers and, on SQLite, the peers (bench/peers) take turns in random order; a ratio is the median of the
rounds' ratios. The client is asyncio in the process of the bench, so that req/s and the percentiles suffer from it, and
processor time does not.
"""
