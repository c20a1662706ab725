"""Benchmarks of the hot paths, as ratios to a bare Flask view that returns a constant of the same size.

    make bench                                   SQLite, over loopback and in process; about three minutes
    python -m bench --database postgresql        the same on PostgreSQL, which is started for the run
    python -m bench --in-process                 WSGI calls without a socket: less noise, no server
    python -m bench --only list,playback --rounds 7 --seconds 4

Everything runs on the real demo catalogue with 2,000 subscribed viewers. In each round of a path, streamsvc and the
bare view take turns in random order; the result is the median of the rounds' ratios, so that other load on the machine
affects both. `wrk` generates the load if it is installed, otherwise an asyncio client in a separate process. Either
runs on the same machine and takes processor time from both contenders, so ratios over loopback slightly favour the
slower one, and absolute figures are valid for this machine only.
"""
