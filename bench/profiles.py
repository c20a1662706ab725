"""Where the time goes on the paths that miss a goal, in process."""

import cProfile
import itertools
import pstats
import time
from pathlib import Path
from statistics import median

from argon2 import PasswordHasher

from bench.__main__ import cpu_time_us
from bench.comparison import prepare_requests
from bench.goals import HASHES
from bench.hot_paths import HOT_PATHS, call_app
from bench.report import Profile
from bench.seeded_service import SeededService, keep_no_responses

CALLS, HASHING_CALLS, FUNCTIONS = 300, 30, 8
ROOT = Path(__file__).parent.parent


def profile_path(service: SeededService, path: str) -> Profile:
    """The functions in which a call spends most of its time, as (name, µs of its own).

    A profiler slows Python's calls down, and not what runs in C: the shares are rough.
    """
    count = HASHING_CALLS if path in HASHES else CALLS
    environs = _environs(service, path, 2 * count)
    profile = cProfile.Profile(time.process_time)
    for environ in environs[:count]:
        call_app(service.app, environ)
    profile.enable()
    for environ in environs[count:]:
        call_app(service.app, environ)
    profile.disable()
    own_us = {
        _name_function(*function): own_s / count * 1e6
        for function, (_, _, own_s, _, _) in pstats.Stats(profile).stats.items()  # type: ignore[attr-defined]  # not in the stub
    }
    return sorted(own_us.items(), key=lambda item: -item[1])[:FUNCTIONS]


def _environs(service: SeededService, path: str, count: int) -> list[dict]:
    service.reset()
    service.app.extensions.pop("kept_responses", None)
    if HOT_PATHS[path].is_fresh:
        keep_no_responses(service.app)
    requests = itertools.cycle(prepare_requests(service, HOT_PATHS[path]))
    return [request.environ() for request in itertools.islice(requests, count)]


def _name_function(file: str, line: int, name: str) -> str:
    if file == "~":
        return name.strip("<>")
    path = Path(file)
    short = path.relative_to(ROOT) if path.is_relative_to(ROOT / "streamsvc") else Path(*path.parts[-2:])
    return f"{short}: {name}"


def time_besides_hash(service: SeededService, path: str, hash_us: float) -> tuple[float, float]:
    """What a call costs besides its hash, and what it costs without one, in µs.

    They differ because argon2id uses more memory than the processor's caches hold, so that what runs after it starts
    with cold caches.
    """
    hashing, with_hash_us, without_us = service.app.extensions["hashing"], [], []
    hasher = hashing.hasher
    for _ in range(3):
        with_hash_us.append(_time_calls(service, path))
        hashing.hasher = FreeHasher()
        without_us.append(_time_calls(service, path))
        hashing.hasher = hasher
    return median(with_hash_us) - hash_us, median(without_us)


def _time_calls(service: SeededService, path: str) -> float:
    service.reset()
    return cpu_time_us(service.app, list(itertools.islice(prepare_requests(service, HOT_PATHS[path]), HASHING_CALLS)))


class FreeHasher:
    """Finds every password right, and takes neither time nor memory for it."""

    def __init__(self) -> None:
        self.hashed = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash("")

    def hash(self, password: str) -> str:
        return self.hashed

    def verify(self, hashed: str, password: str) -> bool:
        return True

    def check_needs_rehash(self, hashed: str) -> bool:
        return False
