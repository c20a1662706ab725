"""`streamsvc`, and the same as `python -m streamsvc.cli`."""

import gc

gc.disable()  # modules stay loaded: looking for garbage among them would take a quarter of the start

from streamsvc.cli.group import main  # noqa: E402

gc.freeze()
gc.enable()

if __name__ == "__main__":
    main()
