"""Health checks, used by `/readyz` and by `streamsvc serve`."""

from pathlib import Path

import sqlalchemy as sa
from alembic.script import ScriptDirectory
from flask import current_app

from streamsvc.models import Worker
from streamsvc.operations.maintenance.worker_loop import is_worker_alive
from streamsvc.storage.database import AUTOCOMMIT_BIND, db, fetch_one


def is_schema_current() -> bool:
    """Whether the newest migration has been applied."""
    if not sa.inspect(db.engines[AUTOCOMMIT_BIND]).has_table("alembic_version"):
        return False
    row = fetch_one(sa.text("SELECT version_num FROM alembic_version"))
    return row is not None and row[0] == newest_revision(current_app.extensions["migrate"].directory)


def newest_revision(folder: str) -> str | None:
    """Return the id of the newest migration in a folder."""
    return ScriptDirectory(str(Path(folder))).get_current_head()


def is_database_writable() -> bool:
    """Whether the database accepts writes. Raises SQLAlchemyError if it does not."""
    with db.engine.connect() as connection:
        connection.execute(sa.delete(Worker).where(Worker.id == ""))
        connection.rollback()
    return True


def run_health_checks() -> dict[str, bool]:
    """Name of each check -> whether it passed. Never raises."""
    results = {}
    for name, check in (("database", is_database_writable), ("schema", is_schema_current), ("worker", is_worker_alive)):
        try:
            results[name] = check()
        except sa.exc.SQLAlchemyError:
            results[name] = False
    return results
