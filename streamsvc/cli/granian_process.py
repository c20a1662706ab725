"""`python -m streamsvc.cli.granian_process FD`: one web process on Granian, listening on the socket FD.

`streamsvc serve --server granian` starts them.
"""

import logging
import sys

from streamsvc.app import create_app
from streamsvc.cli.supervisor import report_ready
from streamsvc.http import granian_worker
from streamsvc.worker import gc_tuning


def main() -> None:
    """Serve until SIGTERM."""
    app = create_app()
    level = app.extensions["settings"].log_level.upper()
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    gc_tuning.tune_gc()
    app.extensions["watch_clock"]()
    granian_worker.serve_app(app, int(sys.argv[1]), report_ready)


if __name__ == "__main__":
    main()
