"""How fast the hot paths are, as ratios to a bare Flask constant of the same size under the same server.

    make bench                                   SQLite, over loopback and in process; about three minutes
    python -m bench --database postgresql        the same on a PostgreSQL that is started for it
    python -m bench --in-process                 WSGI calls without a socket: less noise, no server
    python -m bench --only list,playback --rounds 7 --seconds 4

Everything runs on the real demo catalogue with 2,000 subscribed viewers. Per path and round, streamsvc and the bare
view take turns in random order; the ratio is the median of the rounds' ratios, so that what else the machine does
weighs on both. The load comes from `wrk` where it is installed, else from an asyncio client in a process of its own,
on the same machine: it takes its share of the processor from both contenders, so ratios over loopback flatter the
slower one a little, and absolute figures are this machine's alone.
"""
