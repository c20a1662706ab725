"""jobs: work to do later, enqueued in the transaction of its cause. workers: the live worker processes."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from streamsvc.storage.database import Base, Json, UtcTime, new_id


class Job(Base):
    __tablename__ = "jobs"
    __table_args__ = (
        sa.Index(
            "ix_jobs_open_run_at",
            "run_at",
            "id",
            sqlite_where=sa.text("done_at IS NULL AND failed_at IS NULL"),
            postgresql_where=sa.text("done_at IS NULL AND failed_at IS NULL"),
        ),
        sa.Index(
            "ix_jobs_open_lane_run_at",
            "lane",
            "run_at",
            "id",
            sqlite_where=sa.text("done_at IS NULL AND failed_at IS NULL"),
            postgresql_where=sa.text("done_at IS NULL AND failed_at IS NULL"),
        ),
        sa.Index(
            "ix_jobs_clock_owner",
            "clock_owner",
            "run_at",
            "id",
            sqlite_where=sa.text("clock_owner IS NOT NULL"),
            postgresql_where=sa.text("clock_owner IS NOT NULL"),
        ),
        sa.Index(
            "ix_jobs_failed",  # with all that is filtered and counted by
            "id",
            "kind",
            "lane",
            "failed_at",
            sqlite_where=sa.text("failed_at IS NOT NULL"),
            postgresql_where=sa.text("failed_at IS NOT NULL"),
        ),
        sa.Index(
            "ix_jobs_done_at",
            "done_at",
            sqlite_where=sa.text("done_at IS NOT NULL"),
            postgresql_where=sa.text("done_at IS NOT NULL"),
        ),
    )

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("job"))
    kind: Mapped[str]
    lane: Mapped[str] = mapped_column(server_default="default")
    """A worker runs the jobs of each lane in a thread of their own; see `worker/jobs.py`."""
    payload: Mapped[dict] = mapped_column(Json)
    dedupe: Mapped[str | None] = mapped_column(unique=True)
    """A name under which the job exists at most once, ever."""
    clock_owner: Mapped[str | None]
    """The id of the account by whose sandbox clock the job runs; None: by the service's."""
    run_at: Mapped[datetime] = mapped_column(UtcTime)
    attempts: Mapped[int] = mapped_column(default=0)
    lease: Mapped[str | None]
    leased_until: Mapped[datetime | None] = mapped_column(UtcTime)
    """The database's time, see `storage/leases.py`."""
    done_at: Mapped[datetime | None] = mapped_column(UtcTime)
    failed_at: Mapped[datetime | None] = mapped_column(UtcTime)
    """Set when the last retry failed; the job is kept for inspection."""
    last_error: Mapped[str | None]


class Worker(Base):
    __tablename__ = "workers"

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("wkr"))
    started_at: Mapped[datetime] = mapped_column(UtcTime)
    seen_at: Mapped[datetime] = mapped_column(UtcTime)


class IdempotencyKey(Base):
    __tablename__ = "idempotency_keys"
    __table_args__ = (sa.Index("ix_idempotency_keys_created_at", "created_at"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    """Hash of the owner and the key as sent."""
    fingerprint: Mapped[str]
    """Keyed hash of method, path and body: the same key for a different request is rejected."""
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    lease: Mapped[str | None]
    """The token of the request that runs; it commits only as long as the token is its own."""
    leased_until: Mapped[datetime | None] = mapped_column(UtcTime)
    checkpoint: Mapped[dict | None] = mapped_column(Json)
    """What the request has started and must not repeat, if its view commits midway."""
    status: Mapped[int | None]
    content_type: Mapped[str | None]
    body: Mapped[str | None]
    """The response, with placeholders for its secrets."""
    secret_members: Mapped[list | None] = mapped_column(Json)
    """Where the secrets were: a list of SecretMember in http/stored_secrets.py."""
