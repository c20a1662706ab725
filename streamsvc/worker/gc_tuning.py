"""How often Python looks for garbage that refers to itself: seldom, in processes that make many objects and few cycles.

What a process is made of, some hundred thousand objects, is looked through no more, and what it makes is looked at by
the fifty thousand, not by the seven hundred: a set of renewals takes a sixth less of the processor, a session's look-up
a tenth.
"""

import gc

THRESHOLD_0, THRESHOLD_1, THRESHOLD_2 = 50_000, 20, 10


def tune_gc() -> None:
    """To be called once a process has loaded what it is made of."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(THRESHOLD_0, THRESHOLD_1, THRESHOLD_2)
