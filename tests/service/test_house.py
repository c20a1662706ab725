"""The layout of the package: which folder imports which, which module reads the clock, names, and commands."""

import ast
import configparser
from collections import defaultdict
from pathlib import Path

import pytest

from streamsvc.cli.group import COMMANDS

PACKAGE = Path(__file__).parent.parent.parent / "streamsvc"
MIGRATIONS = PACKAGE / "migrations" / "versions"
FILES = [path for path in sorted(PACKAGE.rglob("*.py")) if path.parent != MIGRATIONS]
FILES.remove(PACKAGE / "__init__.py")
HOUSE = Path(__file__).parent / "house.txt"
VAGUE_NAMES = {
    *"add answer ask begin count do find finish forget found get given hold keep kept known listed look".split(),
    *"made make mine of own page put read refuse register remove run send settle show shown stand state".split(),
    *"take tell told use write".split(),
}
NOT_IN_RULES = {"flask", "sqlalchemy", "marshmallow", "requests"}


def folder_of(path: Path) -> str:
    """`operations/billing/core` for a module of that folder; a module directly in the package is its own folder."""
    return path.relative_to(PACKAGE).parent.as_posix().removeprefix(".") or path.stem


def modules_imported(path: Path) -> set[str]:
    """The dotted names of all modules that a file imports, at any nesting."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                names.add(name if file_of(name) else node.module)
    return names


def file_of(module: str) -> Path | None:
    """The file of a module of this repository, or None."""
    base = PACKAGE.parent.joinpath(*module.split("."))
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.exists()), None)


def actual_imports() -> dict[str, set[str]]:
    """Folder -> the other folders that its modules import."""
    imports = defaultdict(set)
    for path in FILES:
        files = {file_of(name) for name in modules_imported(path) if name.startswith("streamsvc.")}
        imports[folder_of(path)] |= {folder_of(file) for file in files} - {folder_of(path)}
    return imports


def listed_imports() -> dict[str, set[str]]:
    """The same according to `house.txt`: one line per folder, from the top floor down."""
    lines = [line.split(":") for line in HOUSE.read_text().splitlines() if line and not line.startswith("#")]
    return {folder.strip(): set(targets.split()) for folder, targets in lines}


def test_house_txt_lists_exactly_the_imports_of_the_code():
    table = "\n".join(
        f"{folder}: {' '.join(sorted(targets))}".strip() for folder, targets in sorted(actual_imports().items())
    )
    assert actual_imports() == listed_imports(), (
        f"a new import between folders is a decision; the current ones are:\n{table}"
    )


def test_imports_run_downhill():
    floors = list(listed_imports())
    upward = [
        (top, low) for top, lows in listed_imports().items() for low in lows if floors.index(low) < floors.index(top)
    ]
    assert not upward


@pytest.mark.parametrize("path", sorted((PACKAGE / "rules").rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_rules_import_no_framework(path):
    assert not {name.split(".")[0] for name in modules_imported(path)} & NOT_IN_RULES


@pytest.mark.parametrize("path", sorted((PACKAGE / "models").rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_models_of_different_areas_do_not_import_each_other(path):
    area = path.relative_to(PACKAGE / "models").parts[0].removesuffix(".py")
    others = {name.split(".")[2] for name in modules_imported(path) if name.startswith("streamsvc.models.")}
    assert area == "__init__" or others <= {area}


def test_only_the_clock_reads_the_time():
    readers = ("datetime.now(", "utcnow", "time.time(", "time.time_ns", "date.today(")
    assert [str(p.relative_to(PACKAGE)) for p in FILES if any(r in p.read_text() for r in readers)] == ["clock.py"]


def test_no_module_has_a_catch_all_name():
    catch_all_names = {"utils", "helpers", "common", "manager", "misc"}
    assert not [path for path in FILES if path.stem in catch_all_names]


@pytest.mark.parametrize(
    "path", sorted((PACKAGE / "operations").rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE))
)
def test_operations_do_not_read_the_current_request(path):
    request_globals = {
        f"{node.module}.{alias.name}"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if (node.module == "flask" and alias.name in ("request", "g", "session", "has_request_context"))
        or (
            node.module in ("streamsvc.security.principals", "streamsvc.http.request_facts")
            and "current_" in alias.name
        )
    }
    assert not request_globals, "request facts and the principal are passed in as arguments"


def test_a_top_level_function_is_named_by_a_verb_and_its_object():
    vague = [
        f"{path.relative_to(PACKAGE)}: {node.name}"
        for path in FILES
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef) and node.name.strip("_") in VAGUE_NAMES
    ]
    assert not vague


def test_flask_offers_the_same_commands():
    setup = configparser.ConfigParser()
    setup.read(PACKAGE.parent / "setup.cfg")
    lines = setup["options.entry_points"]["flask.commands"].split("\n")
    offered = dict(line.split(" = ") for line in lines if line)
    assert offered | {"db": COMMANDS["db"]} == COMMANDS, "Flask-Migrate offers `db` itself"
