"""python -m bench.granian_process FD APP: a WSGI app in a web process on Granian, as `streamsvc serve` runs its own."""

import importlib
import sys
from types import SimpleNamespace

from streamsvc.cli.supervisor import report_ready
from streamsvc.http import granian_worker
from streamsvc.settings import Settings
from streamsvc.worker import gc_tuning


def main() -> None:
    fd, app_name = int(sys.argv[1]), sys.argv[2]
    module, _, name = app_name.partition(":")
    target = getattr(importlib.import_module(module), name.removesuffix("()"))
    app = target() if name.endswith("()") else target
    gc_tuning.tune_gc()
    extensions = {"settings": Settings.from_env()}
    served = app if hasattr(app, "wsgi_app") else SimpleNamespace(wsgi_app=app)
    served.extensions = getattr(served, "extensions", {}) | extensions
    granian_worker.serve_app(served, fd, report_ready)


if __name__ == "__main__":
    main()
