"""The migrations produce the schema of the models, and can be reverted."""

import json
import os
from datetime import UTC, datetime

import flask_migrate
import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from streamsvc.app import MIGRATIONS
from streamsvc.models import (
    Extra,
    MediaFile,
    Profile,
    Title,
    TitleDetail,
    TitleRecord,
    WatchlistItem,
    WebhookEndpoint,
)
from streamsvc.operations.accounts.accounts import register_account
from streamsvc.operations.catalog.titles.writing import write_titles
from streamsvc.rules.catalog.parts import extra_keys
from streamsvc.rules.catalog.record import convert_record, encode_record
from streamsvc.security import encryption
from streamsvc.storage.database import UtcTime, db


def differences(connection):
    options = {"compare_server_default": False, "include_name": lambda name, kind, _: "_fts" not in (name or "")}
    return compare_metadata(MigrationContext.configure(connection, opts=options), db.metadata)


def test_the_migrations_and_the_models_agree(database, new_app):
    app = new_app(database, "migrated")
    with app.app_context():
        flask_migrate.check()
        inspector = sa.inspect(db.engine)
        for table in db.metadata.sorted_tables:  # Alembic does not compare primary keys
            columns = inspector.get_pk_constraint(table.name)["constrained_columns"]
            assert columns == list(table.primary_key.columns.keys()), table.name
        with db.engine.begin() as connection:
            connection.exec_driver_sql("CREATE INDEX ix_plans_stray ON plans (name)")
        with pytest.raises(SystemExit):
            flask_migrate.check()


def test_every_migration_can_be_reverted(database, new_app):
    app = new_app(database, "back_and_forth")
    with app.app_context():
        flask_migrate.downgrade(revision="base")
        remaining_tables = set(sa.inspect(db.engine).get_table_names()) - {"alembic_version"}
        flask_migrate.upgrade()
        with db.engine.connect() as connection:
            assert (remaining_tables, differences(connection)) == (set(), [])


def test_plain_webhook_secrets_are_encrypted_by_the_migration(database, new_app):
    app = new_app(database, "sealed", fill=None)
    old_table = sa.table(
        "webhook_endpoints",
        *(sa.column(c) for c in ("id", "url", "secret", "old_secret")),
        sa.column("created_at", UtcTime()),
    )
    row = {"id": "whe_1", "url": "https://example.com", "secret": "whsec_new", "old_secret": None}
    with app.app_context():
        flask_migrate.upgrade(revision="0006")
        db.session.execute(sa.insert(old_table).values(row | {"created_at": datetime(2026, 1, 1, tzinfo=UTC)}))
        db.session.commit()
        flask_migrate.upgrade()
        endpoint = db.session.get(WebhookEndpoint, "whe_1")
        encrypted, old_secret = endpoint.secret_encrypted, endpoint.old_secret_encrypted
        assert (encryption.decrypt(encrypted), old_secret) == ("whsec_new", None) and "whsec" not in encrypted
        db.session.rollback()
        flask_migrate.downgrade(revision="0006")
        assert db.session.execute(sa.select(old_table.c.secret)).scalar() == "whsec_new"
        db.session.rollback()


def test_a_downgrade_purges_deleted_profiles_instead_of_bringing_them_back(database, new_app):
    app, at = new_app(database, "undeleted"), datetime(2026, 1, 1, tzinfo=UTC)
    with app.app_context():
        account_id = register_account("ann@example.com", "seven red herons", "DE", at)
        deleted = Profile(account_id=account_id, name="Gone", created_at=at, deleted_at=at)
        db.session.add(deleted)
        db.session.flush()
        item = WatchlistItem(profile_id=deleted.id, title_id="ttl_1", added_at=at)
        db.session.add(item)
        db.session.commit()
        flask_migrate.downgrade(revision="0027")
        flask_migrate.upgrade()
        assert [profile.name for profile in db.session.query(Profile)] == ["Me"]
        assert db.session.query(WatchlistItem).count() == 0
        db.session.rollback()


@pytest.mark.every_database
def test_the_extras_of_stored_titles_become_rows(database, new_app):
    """Importing the same file again would write nothing, so the migration does."""
    app, at = new_app(database, "extras"), datetime(2026, 1, 1, tzinfo=UTC)
    trailer = {"kind": "trailer", "title": '100 %: "Go"', "runtime_s": 90}
    media = {"media": {"hls": "https://m.example/t/a.m3u8"}}
    body = {"external_id": "x:1", "kind": "movie", "title": "Film", "extras": [trailer | media, trailer]}
    shown = {"credits": [], "extras": [trailer, trailer]}
    with app.app_context():
        write_titles([convert_record(body | {"extras": []})], at)
        pk = db.session.scalar(sa.select(Title.pk).where(Title.external_id == "x:1"))
        db.session.commit()
        flask_migrate.downgrade(revision="0060")
        record = encode_record(convert_record(body))
        db.session.execute(sa.update(TitleRecord).where(TitleRecord.title_pk == pk).values(body=record))
        db.session.execute(sa.update(TitleDetail).where(TitleDetail.title_pk == pk).values(body=json.dumps(shown)))
        db.session.commit()
        flask_migrate.upgrade()
        stored = db.session.execute(
            sa.select(Extra.id, Extra.title_pk, Extra.key, Extra.media).order_by(Extra.position)
        )
        (first, *row), (_, *other) = stored.all()
        keys = extra_keys((None, extra["kind"], extra["title"]) for extra in body["extras"])
        assert (row, other) == ([pk, keys[0], json.dumps(media["media"])], [pk, keys[1], None])
        files = db.session.execute(sa.select(MediaFile.host, MediaFile.path, MediaFile.item, MediaFile.folder)).all()
        assert files == [("m.example", "/t/a.m3u8", first, "/t/")]
        detail = sa.select(TitleDetail.body).where(TitleDetail.title_pk == pk)
        assert json.loads(db.session.scalar(detail)) == {"credits": []}
        db.session.rollback()
        flask_migrate.downgrade(revision="0060")
        assert json.loads(db.session.scalar(detail)) == shown
        db.session.rollback()
        flask_migrate.upgrade()
        assert db.session.query(Extra).count() == 2
        db.session.rollback()


REBUILD = """
import sqlalchemy as sa
from alembic import op

revision, down_revision = "rebuilt", "{head}"


def upgrade():
    with op.batch_alter_table("accounts", recreate="always") as table:
        table.add_column(sa.Column("shoe_size", sa.Integer()))


def downgrade():
    pass
"""


def test_rebuilding_a_parent_table_keeps_its_children(new_app, tmp_path):
    app = new_app("sqlite", "rebuilt")
    configuration = Config(MIGRATIONS / "alembic.ini")
    configuration.set_main_option("script_location", str(MIGRATIONS))
    configuration.set_main_option("path_separator", "os")
    configuration.set_main_option("version_locations", os.pathsep.join([str(MIGRATIONS / "versions"), str(tmp_path)]))
    head = ScriptDirectory.from_config(configuration).get_current_head()
    (tmp_path / "rebuilt.py").write_text(REBUILD.format(head=head))
    with app.app_context():
        register_account("ann@example.com", "seven red herons", "DE", datetime(2026, 1, 1, tzinfo=UTC))
        db.session.commit()
        command.upgrade(configuration, "rebuilt")
        assert "shoe_size" in {column["name"] for column in sa.inspect(db.engine).get_columns("accounts")}
        assert db.session.scalar(sa.select(sa.func.count()).select_from(Profile)) == 1
