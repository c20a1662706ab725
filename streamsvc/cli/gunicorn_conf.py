"""gunicorn's configuration under `streamsvc serve`: the app is imported once for all web processes.

They start sooner and share its memory. Under plain gunicorn each process imports the app itself, so that gunicorn's own
reload picks up new code; `streamsvc serve` reloads by starting another gunicorn.
"""

import gc
import sys
from typing import TYPE_CHECKING

from streamsvc.http.gunicorn_conf import *  # noqa: F403

if TYPE_CHECKING:
    from gunicorn.arbiter import Arbiter


def on_starting(server: "Arbiter") -> None:  # type: ignore[no-redef]
    gc.disable()
    try:
        from streamsvc import app, blueprints  # noqa: F401
    except Exception:
        server.log.exception("the app cannot be imported")
        sys.exit(server.APP_LOAD_ERROR)
    gc.freeze()
    gc.enable()
