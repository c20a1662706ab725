"""Rules of migrations: those that landed never change, and new ones do not block a service that is running."""

import ast
import hashlib
from pathlib import Path

import pytest

from streamsvc.app import MIGRATIONS

LANDED = Path(__file__).parent / "landed_migrations.txt"
VERSIONS = sorted((MIGRATIONS / "versions").glob("*.py"))
LAST_THAT_BLOCKED = "0044"
CONCURRENTLY = {"create_index_concurrently", "drop_index_concurrently"}


def landed_line(path: Path) -> str:
    return f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}"


def test_a_migration_that_has_landed_is_never_edited():
    """A database that has run it would differ from one that runs it now. Write another migration instead."""
    landed = LANDED.read_text().splitlines()
    changed = [line for line in landed if line not in map(landed_line, VERSIONS)]
    assert not changed, "these have changed, or are gone"
    assert not [line for line in map(landed_line, VERSIONS) if line not in landed], f"new: append to {LANDED.name}"


def blocking_steps(source: str) -> list[str]:
    """What a migration does to existing tables that keeps their writers waiting for the time it takes to build."""
    upgrade = next(node for node in ast.parse(source).body if getattr(node, "name", "") == "upgrade")
    calls = [node for node in ast.walk(upgrade) if isinstance(node, ast.Call)]
    named = {_name(call): [c for c in calls if _name(c) == _name(call)] for call in calls}
    new_tables = {ast.unparse(call.args[0]) for call in named.get("create_table", []) if call.args}
    blocking = [
        ast.unparse(call)
        for call in named.get("create_index", [])
        if len(call.args) < 2 or ast.unparse(call.args[1]) not in new_tables
    ]
    if named.keys() & CONCURRENTLY:
        others = [node for node in upgrade.body if not _is_concurrent(node)]
        blocking += [ast.unparse(node) for node in others]
    return blocking


def _name(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _is_concurrent(node: ast.stmt) -> bool:
    if not isinstance(node, ast.Expr):
        return False
    is_docstring = isinstance(node.value, ast.Constant)
    return is_docstring or (isinstance(node.value, ast.Call) and _name(node.value) in CONCURRENTLY)


def test_new_migrations_build_indexes_concurrently_and_by_themselves():
    new = [path for path in VERSIONS if path.name[:4] > LAST_THAT_BLOCKED]
    assert {path.name: steps for path in new if (steps := blocking_steps(path.read_text()))} == {}


@pytest.mark.parametrize(
    ("body", "count"),
    [
        ("op.create_index('ix', 'plans', ['name'])", 1),
        ("op.create_table('plans')\n    op.create_index('ix', 'plans', ['name'])", 0),
        ("create_index_concurrently('ix', 'plans', ['name'])", 0),
        ("create_index_concurrently('ix', 'plans', ['name'])\n    op.add_column('plans', sa.Column('x'))", 1),
        ("with op.batch_alter_table('plans') as plans:\n        plans.create_index('ix', ['name'])", 1),
    ],
)
def test_the_rule_notices_what_blocks(body, count):
    assert len(blocking_steps(f"def upgrade():\n    {body}\n")) == count
