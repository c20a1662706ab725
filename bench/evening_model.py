"""What must be so in the simulated evening, computed from the true times."""

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

TTL = timedelta(seconds=90)
RESUME_AFTER_S = 30


@dataclass
class ModelStream:
    household: int
    device: int
    profile_id: str
    item: str
    started_at: datetime
    seen_at: datetime
    has_played: bool = False
    is_over: bool = False
    position_s: int = 0

    def is_live(self, now: datetime) -> bool:
        return not self.is_over and now < self.seen_at + TTL


@dataclass
class ModelProgress:
    """The delivered reports of an item: by true time."""

    positions: dict[datetime, int] = field(default_factory=dict)
    watched_at: datetime | None = None
    restarted_at: datetime | None = None

    def position_s(self) -> int:
        return self.positions[max(self.positions)]

    def is_finished(self) -> bool:
        return self.watched_at is not None and (self.restarted_at is None or self.restarted_at <= self.watched_at)


class Model:
    """Streams and progress as they should be. Raises AssertionError where the service does something else."""

    def __init__(self, runtimes_s: dict[str, int], max_streams: int):
        self.runtimes_s, self.max_streams = runtimes_s, max_streams
        self.streams: dict[str, ModelStream] = {}
        self.by_household: defaultdict[int, list[ModelStream]] = defaultdict(list)
        self.reports: defaultdict[tuple[str, str], ModelProgress] = defaultdict(ModelProgress)

    def start(
        self, household: int, device: int, profile_id: str, item: str, response: Any, now: datetime
    ) -> int | None:
        """Note an attempt to play, and check the limit; return where it must resume."""
        live = [stream for stream in self.by_household[household] if stream.is_live(now)]
        self.by_household[household] = live
        others = [stream for stream in live if (stream.device, stream.item) != (device, item)]
        assert response.status_code == (201 if len(others) < self.max_streams else 409), (response.json, others)
        if response.status_code != 201:
            return None
        for stream in live:
            stream.is_over = stream.is_over or stream not in others
        stream = ModelStream(household, device, profile_id, item, now, now)
        self.streams[response.json["stream_id"]] = stream
        self.by_household[household].append(stream)
        known = self.progress(profile_id, item)
        return 0 if known is None or known[1] or known[0] < RESUME_AFTER_S else known[0]

    def heartbeat(self, stream_id: str, body: dict, true_at: datetime | None, response: Any, now: datetime) -> None:
        """Note a heartbeat, whose true time is None if the player could not tell it.

        Of a stream that is over, such a heartbeat counts as no newer than the stream's latest one.
        """
        stream, position_s = self.streams[stream_id], int(body["position_s"])
        is_live = stream.is_live(now)
        if response.status_code != 204:  # the response to a beacon, which is always the same
            assert (response.status_code == 200) == is_live, (response.json, stream, now)
        stream.has_played |= body["state"] in ("playing", "ended")
        is_news = position_s != stream.position_s or body["state"] in ("playing", "ended")
        at = true_at if is_live or "at" in body else stream.seen_at
        if stream.has_played and is_news and at is not None:
            self._report(stream, position_s, at, body["state"] == "ended")
        if is_live:
            stream.seen_at = now
            stream.is_over = body["state"] in ("stopped", "ended")
            if true_at == now:
                stream.position_s = position_s

    def _report(self, stream: ModelStream, position_s: int, at: datetime, ended: bool) -> None:
        known = self.reports[stream.profile_id, stream.item]
        known.restarted_at = max(known.restarted_at or stream.started_at, stream.started_at)
        self.offline_report(stream.profile_id, stream.item, position_s, at, ended)

    def offline_report(self, profile_id: str, item: str, position_s: int, at: datetime, ended: bool = False) -> None:
        known, runtime_s = self.reports[profile_id, item], self.runtimes_s[item]
        known.positions[at] = max(min(position_s, runtime_s), known.positions.get(at, 0))
        if ended or position_s >= runtime_s * 0.9:
            known.watched_at = max(known.watched_at or at, at)

    def progress(self, profile_id: str, item: str) -> tuple[int, bool] | None:
        """Return (position, whether finished) of an item; None without a report."""
        known = self.reports.get((profile_id, item))
        return (known.position_s(), known.is_finished()) if known and known.positions else None
