"""`python -m streamsvc.cli.granian_process FD`: one web process on Granian, listening on the socket FD.

`streamsvc serve --server granian` starts them.
"""

import gc
import sys

gc.disable()  # while the app is loaded, whose objects stay

from streamsvc.app import create_app  # noqa: E402
from streamsvc.cli.supervisor import report_ready  # noqa: E402
from streamsvc.http import granian_worker  # noqa: E402
from streamsvc.logs import configure_logging  # noqa: E402
from streamsvc.worker import gc_tuning  # noqa: E402


def main() -> None:
    """Serve until SIGTERM."""
    app = create_app()
    configure_logging(app.extensions["settings"])
    gc_tuning.tune_gc()
    app.extensions["watch_clock"]()
    granian_worker.serve_app(app, int(sys.argv[1]), report_ready)


if __name__ == "__main__":
    main()
