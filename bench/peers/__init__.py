"""Peers: other stacks that answer hot reads from the same SQLite file, each in its documented, idiomatic way.

Equal work: a peer checks the token of the session, decides what the viewer may see, and gives the same JSON, field by
field; no field is left out. What it may do without is what the answers do not show: ETags, request ids, security
headers, compression, metrics, and recording when a session was last used. It knows the filters and the sort orders of
the hot paths, first pages only, and fails on what no viewer of a SeededService has: add-ons, subscriptions of app
stores, restricted profiles; and on titles with extras. Guests and sessions that are bound to a key are refused.

viewer.py      what the peers in Python decide by streamsvc's own rules, which do no I/O
sql/           the statements of bare WSGI and of Fastify, and the limits under which answers are compared
orm.py         the models and queries of both peers on SQLAlchemy
stacks.py      the table of peers
answers.py     the comparison that comes before every measurement
"""
