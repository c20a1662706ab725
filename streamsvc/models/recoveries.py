"""account_recoveries: recoveries that support started. credential_changes: changes of addresses and passwords."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from streamsvc.storage.database import Base, UtcTime, db, new_id
from streamsvc.storage.owned import OwnedByAccount

IS_PENDING = sa.text("canceled_at IS NULL AND completed_at IS NULL")


class AccountRecovery(OwnedByAccount, Base):
    __tablename__ = "account_recoveries"
    __table_args__ = (
        sa.Index("ix_account_recoveries_account_id", "account_id", "id"),
        sa.Index(
            "uq_account_recoveries_pending",
            "account_id",
            unique=True,
            sqlite_where=IS_PENDING,
            postgresql_where=IS_PENDING,
        ),
    )

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("rcv"))
    account_id: Mapped[str] = mapped_column(sa.ForeignKey("accounts.id"))
    started_by: Mapped[str]
    """The id of the operator or API key."""
    reason: Mapped[str]
    since: Mapped[datetime | None] = mapped_column(UtcTime)
    """Access that was added since this moment is revoked; None: all of it."""
    email: Mapped[str]
    """The address that the account had at `since`: it gets the link to finish with, and becomes the account's again."""
    only_older_can_cancel: Mapped[bool] = mapped_column(default=False)
    """Whether only sessions and addresses from before `since` can cancel."""
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    ready_at: Mapped[datetime] = mapped_column(UtcTime)
    """The end of the waiting time."""
    expires_at: Mapped[datetime] = mapped_column(UtcTime)
    canceled_at: Mapped[datetime | None] = mapped_column(UtcTime)
    canceled_by: Mapped[str | None]
    """A session, an operator, an API key, `link`, `superseded` by another recovery, or `expired`."""
    completed_at: Mapped[datetime | None] = mapped_column(UtcTime)

    @classmethod
    def find_pending(cls, account_id: str) -> "AccountRecovery | None":
        """Find the account's recovery that is neither canceled nor completed; it may have expired."""
        is_pending = (cls.canceled_at.is_(None), cls.completed_at.is_(None))
        return db.session.scalar(cls.select_owned(account_id).where(*is_pending))


class CredentialChange(Base):
    __tablename__ = "credential_changes"
    __table_args__ = (
        sa.CheckConstraint("kind IN ('email', 'password')", name="kind"),
        sa.Index("ix_credential_changes_account_id", "account_id", "id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("chg"))
    account_id: Mapped[str] = mapped_column(sa.ForeignKey("accounts.id"))
    kind: Mapped[str]
    previous_email: Mapped[str | None]
    """Of a change of the address: the one before."""
    added_by_session_id: Mapped[str | None]
    """The session that requested the change; None if a link in a mail made it."""
    created_at: Mapped[datetime] = mapped_column(UtcTime)
