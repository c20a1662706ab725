"""Faults on purpose: `python -m bench.torture` breaks what the service depends on, and checks that its promises hold.

    make torture                                        everything on both databases; at most an hour
    python -m bench.torture --list                      the phases, and the promises that each shows
    python -m bench.torture --only kills --minutes 5    one phase
    python -m bench.torture --database sqlite --seed 7  one database; the same random choices again

Each phase starts a real service, with a local server as its payment provider, breaks something while clients use it,
and compares the responses with the database and with the journal of the payment provider (`invariants`).
Then it runs again, briefly, on a service with a planted fault (`plants`), which it must find: a check that never failed
proves nothing. The report, `bench/torture.md`, lists every promise, what was measured, and whether the planted fault
was found. The command fails if a promise is broken or a planted fault is not found.
"""
