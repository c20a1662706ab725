"""A small form of the simulated evening: `python -m bench.evening` is the long one."""

from bench.evening import Evening
from tests.worlds.playback_steps import World


def test_an_evening_of_viewers_with_wrong_clocks_and_dying_devices_goes_as_modelled(app, monkeypatch):
    monkeypatch.setitem(app.extensions, "settings", app.extensions["settings"].replace(login_throttle=False))
    evening = Evening(World(app), viewers=8, minutes=45, seed=3)
    evening.run()
    assert evening.counts["checked"] == 24
    assert min(evening.counts[name] for name in ("start 201", "start 409", "heartbeat 410", "batches")) > 0
