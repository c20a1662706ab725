"""Scale on one machine: `python -m bench.scale` starts four nodes behind HAProxy, PgBouncer, a primary and a standby.

All are real: HAProxy, PgBouncer and PostgreSQL of Debian's packages. Viewers sign up, pay, browse and play through
HAProxy while each part is killed in turn, and the report says what they noticed.
"""
