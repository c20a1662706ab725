"""The shape of the house, kept by tests: who may import whom, who asks the time, what the documents say."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "streamsvc"
FILES = sorted(ROOT.rglob("*.py"))
EDGE = {
    "prepared",
    "proxies",
    "web",
    "login",
    "schemas",
    "pagination",
    "idempotency",
    "etags",
    "throttle",
    "grants",
    "jobs",
    "together",
    "clock",
    "sealing",
    "end_users",
    "operators",
}
MAY_IMPORT = {
    "rules": {"rules"},
    "clock": set(),
    "settings": set(),
    "turns": set(),
    "database": {"clock", "turns"},
    "prepared": {"database"},
    "models": {"models", "database", "prepared", "rules"},
    "schemas": {"schemas", "rules"},
    "etags": set(),
    "proxies": {"rules"},
    "web": {"rules", "schemas", "database", "proxies"},
    "operators": {"models", "rules", "database", "clock"},
    "login": {"models", "rules", "database", "prepared", "clock", "passwords", "operators"},
    "end_users": {"models", "rules", "database", "clock", "sealing"},
    "pagination": {"database", "rules"},
    "together": {"database"},
    "jobs": {"models", "database", "clock", "together"},
    "idempotency": {"models", "database", "clock", "rules", "web", "login"},
    "throttle": {"models", "database", "clock", "rules", "settings"},
    "sealing": {"settings"},
    "breaches": {"settings"},
    "passwords": {"breaches", "rules", "settings"},
    "grants": {"rules", "clock", "settings"},
    "gateways": {"gateways", "models", "database", "clock", "rules", "settings"},
    "operations": {"operations", "gateways", "models", "database", "rules", "settings", "passwords", "search"} | EDGE,
    "metrics": {"models", "database", "clock"},
    "memory": set(),
    "blueprints": {
        "blueprints",
        "metrics",
        "operations",
        "models",
        "database",
        "rules",
        "settings",
        "passwords",
        "search",
    }
    | EDGE,
    "pages": set(),
    "app": {
        "blueprints",
        "metrics",
        "operations",
        "pages",
        "database",
        "clock",
        "login",
        "web",
        "settings",
        "end_users",
    },
    "cli": {
        "cli",
        "app",
        "breaches",
        "operations",
        "login",
        "settings",
        "database",
        "clock",
        "jobs",
        "memory",
        "models",
        "rules",
    },
}
OUTSIDE_RULES = {"flask", "sqlalchemy", "marshmallow", "requests"}


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            yield from [node.module] if node.module != "streamsvc" else [f"streamsvc.{a.name}" for a in node.names]
        elif isinstance(node, ast.Import):
            yield from (a.name for a in node.names)


def room_of(path):
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_run_downhill(path):
    room = room_of(path)
    if room == "__init__":
        return
    ours = {name.split(".")[1] for name in imported(path) if name.startswith("streamsvc.")}
    if path.parent.name == "sandbox":  # the window into the sandbox's own payment provider
        ours -= {"gateways"}
    assert ours - {"__version__"} <= MAY_IMPORT[room]
    if room == "rules":
        assert not {name.split(".")[0] for name in imported(path)} & OUTSIDE_RULES


@pytest.mark.parametrize("path", sorted((ROOT / "models").rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_models_of_different_areas_do_not_import_each_other(path):
    area = path.relative_to(ROOT / "models").parts[0].removesuffix(".py")
    ours = {name.split(".")[2] for name in imported(path) if name.startswith("streamsvc.models.")}
    assert area == "__init__" or ours <= {area}


def test_only_the_clock_asks_what_time_it_is():
    asking = ("datetime.now(", "utcnow", "time.time(", "time_ns(", "date.today(")
    assert [str(p.relative_to(ROOT)) for p in FILES if any(a in p.read_text() for a in asking)] == ["clock.py"]


def test_no_file_is_called_a_drawer():
    drawers = {"utils", "helpers", "common", "manager", "misc"}
    assert not [p for p in FILES if p.stem in drawers]
