"""index of facet links with what ranges test, so that a list looks up only the titles that pass"""

from streamsvc.storage.concurrent_indexes import create_index_concurrently, drop_index_concurrently

revision = "0087"
down_revision = "0086"
branch_labels = None
depends_on = None


def upgrade():
    create_index_concurrently(
        "ix_title_facets_ranges", "title_facets", ["facet_pk", "title_pk", "year_key", "runtime_s"]
    )


def downgrade():
    drop_index_concurrently("ix_title_facets_ranges", "title_facets")
