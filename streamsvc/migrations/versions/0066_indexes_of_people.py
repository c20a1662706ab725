"""indexes of people by id, by name and by the person that they are merged into"""

import sqlalchemy as sa

from streamsvc.storage.concurrent_indexes import create_index_concurrently, drop_index_concurrently

revision = "0066"
down_revision = "0063"
branch_labels = None
depends_on = None

HAS_ID, HAS_NO_ID = sa.text("external_id IS NOT NULL"), sa.text("external_id IS NULL")
IS_MERGED = sa.text("merged_into IS NOT NULL")


def only(condition):
    return {"sqlite_where": condition, "postgresql_where": condition}


def upgrade():
    create_index_concurrently("ix_people_external_id", "people", ["external_id"], unique=True, **only(HAS_ID))
    create_index_concurrently("ix_people_name_with_id", "people", ["name"], **only(HAS_ID))
    create_index_concurrently("ix_people_name_without_id", "people", ["name"], unique=True, **only(HAS_NO_ID))
    create_index_concurrently("ix_people_name_key", "people", ["name_key", "pk"])
    create_index_concurrently("ix_people_merged_into", "people", ["merged_into"], **only(IS_MERGED))


def downgrade():
    drop_index_concurrently("ix_people_merged_into", "people")
    drop_index_concurrently("ix_people_name_key", "people")
    drop_index_concurrently("ix_people_name_without_id", "people")
    drop_index_concurrently("ix_people_name_with_id", "people")
    drop_index_concurrently("ix_people_external_id", "people")
