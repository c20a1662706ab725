"""The migrations make what the models say, and can be taken back."""

import flask_migrate
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from streamsvc.database import db


def differences(connection):
    options = {"compare_server_default": False, "include_name": lambda name, kind, _: "_fts" not in (name or "")}
    return compare_metadata(MigrationContext.configure(connection, opts=options), db.metadata)


def test_the_migrations_and_the_models_agree(database, new_app):
    app = new_app(database, "migrated")
    with app.app_context(), db.engine.connect() as connection:
        assert differences(connection) == []


def test_every_migration_can_be_taken_back(database, new_app):
    app = new_app(database, "back_and_forth")
    with app.app_context():
        flask_migrate.downgrade(revision="base")
        left = set(sa.inspect(db.engine).get_table_names()) - {"alembic_version"}
        flask_migrate.upgrade()
        with db.engine.connect() as connection:
            assert (left, differences(connection)) == (set(), [])
