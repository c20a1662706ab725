"""Work that goes on in threads while a block runs."""

import threading
from typing import Self


class RunningThreads:
    """Runs `run` in threads while the block runs; it must return soon after `stopping` is set, when the block ends."""

    def __init__(self, threads: int) -> None:
        self.stopping = threading.Event()
        self._threads = [threading.Thread(target=self.run) for _ in range(threads)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        for thread in self._threads:
            thread.join()

    def run(self) -> None:
        raise NotImplementedError
