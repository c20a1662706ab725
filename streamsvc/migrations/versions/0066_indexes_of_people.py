"""indexes of people by id and name"""

import sqlalchemy as sa

from streamsvc.storage.concurrent_indexes import create_index_concurrently, drop_index_concurrently

revision = "0066"
down_revision = "0059"
branch_labels = None
depends_on = None

WITHOUT_ID = sa.text("external_id IS NULL")


def upgrade():
    create_index_concurrently("ix_people_external_id", "people", ["external_id"], unique=True)
    create_index_concurrently("ix_people_name", "people", ["name"])
    create_index_concurrently(
        "ix_people_name_without_id",
        "people",
        ["name"],
        unique=True,
        sqlite_where=WITHOUT_ID,
        postgresql_where=WITHOUT_ID,
    )
    create_index_concurrently("ix_people_name_key", "people", ["name_key", "pk"])


def downgrade():
    drop_index_concurrently("ix_people_name_key", "people")
    drop_index_concurrently("ix_people_name_without_id", "people")
    drop_index_concurrently("ix_people_name", "people")
    drop_index_concurrently("ix_people_external_id", "people")
