"""python -m bench.evening: 2,000 viewers on 3,000 devices, whose clocks are wrong, watch for an evening.

Households of four share a plan of two streams and six devices. Clocks are up to three hours slow or a year fast, and
some jump while a film plays. Players die, go to sleep and wake up, lose the network and report what was watched hours
later, and let heartbeats overtake each other; viewers go on with a film on another device. Time is simulated, and each
request goes through the app.

A model that knows the true times says what must be so: each start resumes exactly where the latest of the delivered
reports was made, no play is refused while a place is free, and none starts beyond the limit.
"""

import argparse
import heapq
import itertools
import multiprocessing
import os
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import flask_migrate

from bench.evening_model import Model
from streamsvc.app import create_app
from streamsvc.cli.progress import progress_bar
from streamsvc.settings import Settings
from tests.worlds.playback_steps import Viewer, World

START = datetime(2026, 1, 15, 19, tzinfo=UTC)
HOUSEHOLD, DEVICES_PER_HOUSEHOLD, MAX_STREAMS = 4, 6, 2
INTERVAL_S = 30
SKEWS = (
    *(timedelta(), timedelta(minutes=-10), timedelta(hours=-3), timedelta(minutes=20), timedelta(days=365)),
    timedelta(seconds=-40),
)
RUNTIMES_S = {"short": 600, "episode": 1500, "film": 5400}
CLIENT_EVENTS = {
    "goes on": 0.86,
    "dies": 0.02,
    "sleeps": 0.02,
    "goes offline": 0.03,
    "stops": 0.02,
    "closes the page": 0.02,
    "is overtaken": 0.03,
}
"""What a player does at a heartbeat, and how often."""


class SimulatedClock:
    at = START

    def __call__(self):
        return self.at


@dataclass
class Device:
    caller: Viewer
    skew: timedelta
    tells_time: bool
    profile_id: str | None = None


@dataclass
class Playing:
    """A stream as its player knows it."""

    device: Device
    item: str
    stream_id: str
    grant: str
    position_s: int
    withheld: list[dict] = field(default_factory=list)


class Evening:
    """The simulation: a queue of events by their true time."""

    def __init__(self, world: World, viewers: int, minutes: int, seed: int):
        self.world, self.clock, self.rng = world, world.clock, random.Random(seed)
        self.ends_at = self.clock.at + timedelta(minutes=minutes)
        self.events: list[tuple[datetime, int, Any]] = []
        self.numbers, self.counts = itertools.count(), Counter()
        world.put_titles(
            *(
                {"external_id": name, "kind": "movie", "title": name, "runtime_s": s, "age_rating": "US:G"}
                for name, s in RUNTIMES_S.items()
            )
        )
        price = world.put_plan("family", max_streams=MAX_STREAMS, max_devices=DEVICES_PER_HOUSEHOLD)
        self.model = Model(RUNTIMES_S, MAX_STREAMS)
        self.people: list[Person] = []
        for _ in range(-(-viewers // HOUSEHOLD)):
            self.people += self.move_in(price)
        self.people = self.people[:viewers]

    def move_in(self, price: str) -> list["Person"]:
        owner = self.world.household(plan=price)
        callers = [owner, *(owner.on_another_device() for _ in range(DEVICES_PER_HOUSEHOLD - 1))]
        devices = [Device(caller, self.rng.choice(SKEWS), self.rng.random() < 0.8) for caller in callers]
        profiles = [owner.post("/v1/profiles", {"name": f"Member {n}"}).json["id"] for n in range(1, HOUSEHOLD)]
        return [Person(self, profile_id, devices) for profile_id in (owner.profile_id, *profiles)]

    def after(self, seconds: float, act: Any) -> None:
        heapq.heappush(self.events, (self.clock.at + timedelta(seconds=seconds), next(self.numbers), act))

    def run(self, shows_progress: bool = False) -> None:
        for person in self.people:
            self.after(self.rng.uniform(0, 120), person.start)
        minutes = round((self.ends_at - self.clock.at) / timedelta(minutes=1))
        with progress_bar(minutes if shows_progress else 0, "Minutes") as bar:
            while self.events:
                at, _, act = heapq.heappop(self.events)
                if at.minute != self.clock.at.minute:
                    bar.update(1)
                self.clock.at = at
                act()
        for person in self.people:
            person.check_all()


class Person:
    """A viewer with a profile, who uses any device of the household that nobody else uses."""

    def __init__(self, evening: Evening, profile_id: str, devices: list[Device]):
        self.evening, self.profile_id, self.devices = evening, profile_id, devices
        self.rng, self.model, self.item = evening.rng, evening.model, ""

    def start(self) -> None:
        """Pick a device, and play on where the service says."""
        now, ids = self.evening.clock.at, self.evening.world.ids
        if now >= self.evening.ends_at:
            return
        device = self.rng.choice(self.devices)
        if not self.item or self.rng.random() < 0.2:
            self.item = self.rng.choice(list(RUNTIMES_S))
        if device.profile_id != self.profile_id:
            assert device.caller.patch("/v1/sessions/current", {"profile_id": self.profile_id}).status_code == 200
            device.profile_id = self.profile_id
        response = device.caller.post("/v1/playback", {"item_id": ids[self.item]})
        device_id = id(device)
        expected = self.model.start(self.devices_id, device_id, self.profile_id, self.item, response, now)
        self.evening.counts[f"start {response.status_code}"] += 1
        if response.status_code != 201:
            self.evening.after(self.rng.uniform(20, 120), self.start)
            return
        assert response.json["resume_s"] == expected, (self.profile_id, self.item, response.json, expected)
        playing = Playing(
            device, self.item, response.json["stream_id"], response.json["grant"]["token"], response.json["resume_s"]
        )
        if self.rng.random() < 0.1:  # a start that fails
            self.heartbeat(playing, "buffering", position_s=0)
            self.heartbeat(playing, "stopped", position_s=0)
            self.evening.after(5, self.start)
            return
        self.heartbeat(playing, "playing")
        self.evening.after(INTERVAL_S, lambda: self.play_on(playing))

    @property
    def devices_id(self) -> int:
        return id(self.devices)

    def report(self, playing: Playing, state: str, position_s: int | None = None) -> dict:
        """What the player would send now."""
        position = playing.position_s if position_s is None else position_s
        body = {"position_s": position + self.rng.random(), "state": state}
        if playing.device.tells_time:
            body["at"] = (self.evening.clock.at + playing.device.skew).isoformat()
        return body

    def heartbeat(self, playing: Playing, state: str, position_s: int | None = None, sent: dict | None = None) -> int:
        """Send a heartbeat of now, or one that was `sent` before, with its true time."""
        body = sent or self.report(playing, state, position_s)
        true_at = body.pop("true_at", self.evening.clock.at)
        response = playing.device.caller.post(f"/v1/playback/{playing.stream_id}/heartbeat", body)
        assert response.status_code in (200, 410), response.json
        self.evening.counts[f"heartbeat {response.status_code}"] += 1
        if response.status_code == 200 and "grant" in response.json:
            playing.grant = response.json["grant"]["token"]
        timed = "at" in body or sent is None
        self.model.heartbeat(playing.stream_id, body, true_at if timed else None, response, self.evening.clock.at)
        return response.status_code

    def play_on(self, playing: Playing) -> None:
        """Play until now, and do one of CLIENT_EVENTS."""
        playing.position_s += INTERVAL_S
        if playing.position_s >= RUNTIMES_S[playing.item]:
            playing.position_s = RUNTIMES_S[playing.item]
            if self.heartbeat(playing, "ended") == 200:
                self.item = ""
            self.evening.after(10, self.start)
            return
        if self.evening.clock.at >= self.evening.ends_at:
            self.heartbeat(playing, "stopped")
            return
        if self.rng.random() < 0.01:  # the device asks a time server
            playing.device.skew = self.rng.choice(SKEWS[1:5])
        [event] = self.rng.choices(list(CLIENT_EVENTS), CLIENT_EVENTS.values())
        self.evening.counts[event] += 1
        getattr(self, event.replace(" ", "_"))(playing)

    def goes_on(self, playing: Playing) -> None:
        status = self.heartbeat(playing, "paused" if self.rng.random() < 0.02 else "playing")
        if playing.withheld:
            self.heartbeat(playing, "", sent=playing.withheld.pop())
        if status == 200:
            self.evening.after(INTERVAL_S, lambda: self.play_on(playing))
        else:  # taken over by somebody else on this device
            self.evening.after(INTERVAL_S, self.start)

    def dies(self, playing: Playing) -> None:
        self.evening.after(self.rng.uniform(10, 100), self.start)

    def sleeps(self, playing: Playing) -> None:
        """Stop without a word; the device wakes up later, and sends a heartbeat at once."""
        self.evening.after(self.rng.uniform(10, 100), self.start)
        stale = playing.position_s - INTERVAL_S  # what it had reported before it fell asleep
        self.evening.after(self.rng.uniform(200, 3000), lambda: self.heartbeat(playing, "paused", stale))

    def stops(self, playing: Playing) -> None:
        self.heartbeat(playing, "stopped")
        self.evening.after(self.rng.uniform(1, 60), self.start)

    def closes_the_page(self, playing: Playing) -> None:
        body = self.report(playing, "stopped") | {"grant": playing.grant}
        response = playing.device.caller.client.post(f"/v1/playback/{playing.stream_id}/beacon", json=body)
        assert response.status_code == 204, response.json
        self.model.heartbeat(playing.stream_id, body, self.evening.clock.at, response, self.evening.clock.at)
        self.evening.after(self.rng.uniform(1, 60), self.start)

    def is_overtaken(self, playing: Playing) -> None:
        """Keep this heartbeat back until the next one was sent; players without a time cannot say which is older."""
        if playing.device.tells_time and not playing.withheld:
            playing.withheld.append(self.report(playing, "playing") | {"true_at": self.evening.clock.at})
        self.evening.after(INTERVAL_S, lambda: self.play_on(playing))

    def goes_offline(self, playing: Playing) -> None:
        """Watch on without a network; the reports arrive later, when the viewer may be further on another device."""
        minutes, reports = self.rng.randrange(1, 12), []
        skew, ids = playing.device.skew, self.evening.world.ids
        for n in range(2 * minutes):
            true_at = self.evening.clock.at + timedelta(seconds=INTERVAL_S * n)
            position_s = min(playing.position_s + INTERVAL_S * n, RUNTIMES_S[playing.item])
            item = {"item_id": ids[playing.item], "position_s": position_s, "duration_s": RUNTIMES_S[playing.item]}
            reports.append((true_at, item | {"at": (true_at + skew).isoformat(), "play_id": playing.stream_id}))
        self.rng.shuffle(reports)

        def deliver() -> None:
            body = {"items": [report for _, report in reports]}
            body["sent_at"] = (self.evening.clock.at + skew).isoformat()
            response = playing.device.caller.post(f"/v1/profiles/{self.profile_id}/progress", body)
            assert response.status_code == 200, response.json
            for true_at, report in reports:
                self.model.offline_report(self.profile_id, playing.item, report["position_s"], true_at)
            self.evening.counts["batches"] += 1

        watched_s = 60 * minutes
        self.evening.after(watched_s + self.rng.uniform(1, 60), self.start)
        for delay_s in self.rng.choices((0, 30, 300, 3600), k=self.rng.choice((1, 1, 2))):  # some arrive twice
            self.evening.after(watched_s + delay_s, deliver)

    def check_all(self) -> None:
        ids = self.evening.world.ids
        path = f"/v1/profiles/{self.profile_id}/state?ids={','.join(ids[item] for item in RUNTIMES_S)}"
        for item, state in zip(RUNTIMES_S, self.devices[0].caller.get(path).json["items"], strict=True):
            progress = state["progress"]
            shown = (progress["position_s"], progress["finished"]) if progress else None
            expected = self.model.progress(self.profile_id, item)
            assert shown == expected, (self.profile_id, item, progress, expected)
            self.evening.counts["checked"] += 1


def simulate_part(viewers: int, minutes: int, seed: int, shows_progress: bool) -> Counter:
    """Let some of the households watch, with a database of their own; return how often what happened."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(
            database_url=f"sqlite:///{folder}/evening.sqlite3",
            secret_key=("s" * 40,),
            sandbox=True,
            login_throttle=False,
            argon2_memory_kib=8,
            argon2_time_cost=1,
        )
        app = create_app(settings.with_defaults(), now=SimulatedClock())
        with app.app_context():
            flask_migrate.upgrade()
        evening = Evening(World(app), viewers, minutes, seed)
        evening.run(shows_progress)
        return evening.counts


def main() -> None:
    parser = argparse.ArgumentParser("python -m bench.evening", description=__doc__)
    parser.add_argument("--viewers", type=int, default=2_000)
    parser.add_argument("--minutes", type=int, default=90)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--parts", type=int, default=os.cpu_count() or 1, help="processes, with some households each")
    options = parser.parse_args()
    size, remainder = divmod(options.viewers, options.parts)
    parts = [
        (size + (part < remainder), options.minutes, options.seed + part, part == 0) for part in range(options.parts)
    ]
    started = time.perf_counter()
    with multiprocessing.get_context("spawn").Pool(options.parts) as processes:
        counts = sum(processes.starmap(simulate_part, parts, chunksize=1), Counter())
    print(dict(sorted(counts.items())))
    duration_s = time.perf_counter() - started
    print(f"{options.viewers} viewers, {options.minutes} minutes: all as modelled, in {duration_s:.0f} s")


if __name__ == "__main__":
    sys.exit(main())
