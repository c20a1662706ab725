"""gunicorn's configuration under `streamsvc serve`: the app is imported once for all web processes.

They start sooner and share its memory. Elsewhere gunicorn's own reload must find new code, so that each imports it.
"""

import gc
from typing import TYPE_CHECKING

from streamsvc.http.gunicorn_conf import *  # noqa: F403

if TYPE_CHECKING:
    from gunicorn.arbiter import Arbiter


def on_starting(server: "Arbiter") -> None:  # type: ignore[no-redef]
    gc.disable()
    from streamsvc import app, blueprints  # noqa: F401

    gc.freeze()
    gc.enable()
