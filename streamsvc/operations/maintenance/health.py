"""Is the service fit to serve? What `/readyz` and `serve` look at."""

from pathlib import Path

import sqlalchemy as sa
from alembic.script import ScriptDirectory
from flask import current_app

from streamsvc.models import Worker
from streamsvc.operations.maintenance.worker_loop import is_worker_alive
from streamsvc.storage.database import AUTOCOMMIT_BIND, db, fetch_one


def is_schema_current() -> bool:
    """Whether the database has the newest migration."""
    if not sa.inspect(db.engines[AUTOCOMMIT_BIND]).has_table("alembic_version"):
        return False
    found = fetch_one(sa.text("SELECT version_num FROM alembic_version"))
    return found is not None and found[0] == newest_revision(current_app.extensions["migrate"].directory)


def newest_revision(folder: str) -> str | None:
    return ScriptDirectory(str(Path(folder))).get_current_head()


def is_database_writable() -> bool:
    """Whether the database takes writes just now."""
    with db.engine.connect() as connection:
        connection.execute(sa.delete(Worker).where(Worker.id == ""))
        connection.rollback()
    return True


def run_health_checks() -> dict[str, bool]:
    """Each check by name, and whether it passed. Never raises."""
    found = {}
    for name, check in (("database", is_database_writable), ("schema", is_schema_current), ("worker", is_worker_alive)):
        try:
            found[name] = check()
        except sa.exc.SQLAlchemyError:
            found[name] = False
    return found
